"""How a claim is measured: cases in turn in one process, medians of ratios; memory in a fresh process."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Record",
    "Spread",
    "device_name",
    "in_turn",
    "measure_apart",
    "peak_memory",
    "ratio",
    "run_python",
    "show",
    "time_python",
]


def device_name() -> str:
    """Return what JAX computes on: a GPU's name, or the processor's kind and number of cores."""
    import jax

    device = jax.devices()[0]
    return device.device_kind if device.platform != "cpu" else f"{platform.machine()}, {os.cpu_count()} cores"


@dataclass(frozen=True)
class Spread:
    """A median with the smallest and largest value it was taken from."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of measured values."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} … {self.high:.3g})"


@dataclass(frozen=True)
class Record:
    """One measured number and what it should be.

    Attributes:
        claim: what is measured, in words.
        value: median and spread.
        unit: of the value; "×" for a ratio.
        at_least: the target, if it is a lower limit.
        at_most: the target, if it is an upper limit.
        detail: what else is worth keeping, such as the times a ratio was made from.
    """

    claim: str
    value: Spread
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    detail: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None where there is none."""
        if self.at_least is not None:
            return self.value.median >= self.at_least
        return None if self.at_most is None else self.value.median <= self.at_most

    def row(self) -> str:
        """Return a line of a markdown table: claim, measured, target, met."""
        limits = {"≥": self.at_least, "≤": self.at_most}
        target = " ".join(f"{sign} {limit:g}" for sign, limit in limits.items() if limit is not None)
        verdict = {None: "", True: "yes", False: "no"}[self.met]
        return f"| {self.claim} | {self.value} {self.unit} | {target} | {verdict} |"


def show(records: list[Record]) -> list[Record]:
    """Print records as rows with their details, and pass them on."""
    for record in records:
        details = ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in record.detail.items()
        )
        print(record.row() + (f"\n  {details}" if details else ""), flush=True)
    return records


def in_turn(repeats: int, **cases: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each case, `repeats` rounds of all in turn, so that drift and neighbours hit all alike.

    A case must wait for its own result (`jax.block_until_ready`).
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of the ratio, round by round."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


#: Linux hands the peak of the parent on to `getrusage` of its child; VmHWM is that of the process alone.
_PRINT_PEAK = """
def _peak_bytes():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        import resource, sys
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(_peak_bytes())
"""


def peak_memory(code: str) -> int:
    """Peak resident bytes, as the OS reports them, of a fresh Python that runs `code`."""
    return measure_apart(code)[1]


def measure_apart(code: str) -> tuple[str, int]:
    """Return what a fresh Python prints when it runs `code`, and its peak resident bytes."""
    printed, _, peak = run_python(code + _PRINT_PEAK).strip().rpartition("\n")
    return printed, int(peak)


def run_python(code: str, *arguments: str) -> str:
    """Return what a fresh Python prints when it runs `code`; its own errors are shown."""
    # Byte code is cached as it is for a user, else every run would compile the package anew.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def time_python(code: str, *arguments: str) -> float:
    """Wall-clock seconds of a fresh Python that runs `code`, start-up included."""
    start = time.perf_counter()
    run_python(code, *arguments)
    return time.perf_counter() - start

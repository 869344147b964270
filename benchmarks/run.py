"""Run every benchmark, each in a fresh process, and print one table."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module, metadata
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measure import Record, device_name

#: The files that make a claim, in the order of the table.
CLAIMS = (
    "import_time",
    "activations",
    "gram_vs_neural_tangents",
    "empirical_vs_neural_tangents",
    "prediction_vs_neural_tangents",
    "prediction_vs_fft",
    "measured_mri",
    "cost_vs_size",
    "leave_one_out",
    "tuned_amplitudes",
    "design_time",
    "trainer_vs_matmul",
    "movement_overhead",
    "precision",
)
#: Those that take ten minutes or more, run by name or by `make bench-large`.
LARGE = ("lattice_sizes", "scattered_products", "learning_curves", "regret", "width_law")
RESULTS = Path(__file__).parent / "results"


def measure(name: str) -> list[Record]:
    """Return the records of one benchmark."""
    return import_module(f"benchmarks.{name}").main()


def save(name: str, records: list[Record], results: Path) -> None:
    """Keep the records of one benchmark, with the machine and versions they hold for, as JSON."""
    machine = {"system": platform.platform(), "device": device_name()}
    versions = {"python": platform.python_version()}
    versions |= {package: metadata.version(package) for package in ("ntkspec", "jax", "jaxlib", "numpy")}
    content = {
        "benchmark": name,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": versions,
        "records": [{**asdict(record), "met": record.met} for record in records],
    }
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (results / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measure, save and print; the exit status says whether every target was met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(CLAIMS)} (all if none); {', '.join(LARGE)}"
    )
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in CLAIMS + LARGE]:
        parser.error(f"no benchmark {', '.join(unknown)}; expected of {', '.join(CLAIMS + LARGE)}")
    records: list[Record] = []
    for name in names or CLAIMS:
        print(f"{name} …", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            measured = process.submit(measure, name).result()
        save(name, measured, RESULTS)
        records += measured
    print("\n| claim | measured: median (min … max) | target | met |\n| --- | --- | --- | --- |")
    for record in records:
        print(record.row())
    return int(any(record.met is False for record in records))


if __name__ == "__main__":
    sys.exit(main())

"""How fast finite networks come near theory as they get wider, seeds and bias apart, and what the bias is due to.

Two problems: the paper's 1-D signal (64 points, b = 1 … 32, a = 1/b) and a photograph (32² training pixels, Gaussian
frequencies), depth 3, ntk parametrization, gradient descent at η = 1/λ_max from f − f_0 = 0, at steps 10, 100 and 300.
Beside them the same with networks linearised at their start, whose kernels stand still, and with a smooth activation;
and how far kernels move, and how fast they learn what a network has not learned yet.

``python -m benchmarks.width_law [LARGEST_1D LARGEST_2D [CASE …]]`` measures widths up to the largest, keeps each case
in results/, where it is not measured again, and draws results/width_law.png, which `benchmarks.page` puts on
docs/benchmarks.md. Narrow networks are cheap, and so more of them are trained. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import ntkspec as ns
from benchmarks.measure import Record, Spread, device_name, show

RESULTS = Path(__file__).parent / "results"
PLOT = RESULTS / "width_law.png"
WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
STEPS = (0, 10, 100, 300)
#: Of each width, at least and at most.
SEEDS = (16, 1024)
ACCURACY = 0.05


#: A mapping, a lattice, the mask of its training points and the labels there.
Problem = tuple[Any, tuple[int, ...], np.ndarray | None, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A problem, and the networks that are trained on it.

    Attributes:
        problem: gives it.
        cost: networks times width; a number of networks for each width follows from it.
        narrowest: its narrowest networks. Linearised ones of less width meet kernels of twice the size, and diverge.
        narrower: by how much its widest are narrower than the widest asked for.
        activation: of the networks.
        linearised: whether they are linear in their parameters.
    """

    problem: Callable[[], Problem]
    cost: int
    narrowest: int = WIDTHS[0]
    narrower: int = 1
    activation: str = "relu"
    linearised: bool = False

    def seeds(self, width: int) -> int:
        """How many networks of a width."""
        return int(np.clip(self.cost // width, *SEEDS))


def paper() -> Problem:
    """The 1-D problem."""
    task = ns.task.signal.paper(num_points=64, oversampling=2)
    return ns.mapping.power_law(32, p=1.0), (64,), None, task.train_values


def photograph() -> Problem:
    """The 2-D problem."""
    task = ns.task.image.astronaut(64)
    g = ns.mapping.gaussian(2, 256, scale=4.0, seed=0, normalize=False)
    return g, task.shape, task.train_mask, task.train_values


CASES = {
    "1-D": Case(paper, 2**16),
    "1-D linearised": Case(paper, 2**15, narrowest=256, narrower=4, linearised=True),
    "1-D erf": Case(paper, 2**15, narrower=4, activation="erf"),
    "2-D": Case(photograph, 2**13),
}
#: Networks of each width whose kernels are looked at, the widest of them, and their activations: with a kink, smooth.
LOOKED_AT, WIDEST_LOOKED_AT, LOOKED_INTO = 8, 1024, ("relu", "erf")


def measured(case: Case, largest: int, checkpoints: Path) -> xr.Dataset:
    """The law of a case, as `ntkspec.validation.width_law` gives it, going on from checkpoints if there are any."""
    mapping, shape, mask, y = case.problem()
    network = ns.kernel.MLP(depth=3, activation=case.activation)
    k = ns.kernel.compose(mapping, network)
    K = ns.operator.lattice(k, shape, mask)
    widths = [width for width in WIDTHS if case.narrowest <= width <= largest // case.narrower]
    found = ns.validation.width_law(
        ns.kernel.linearised(k) if case.linearised else k,
        K.points,
        y,
        steps=STEPS,
        learning_rate=ns.dynamics.max_learning_rate(K) / 2,
        widths=widths,
        seeds=[case.seeds(width) for width in widths],
        accuracy=ACCURACY,
        K=K,
        check=False,
        seed=1000,
        checkpoint=checkpoints,
        resume=True,
        progress=ns.progress.TerminalProgress(),
    )
    return found.assign_attrs(device=device_name())


def rates(width: int, activation: str) -> list[Record]:
    """How fast a network's kernel would go on learning what it has not learned yet, over how fast Θ would.

    That is rᵀK r/rᵀΘr of the network's own residual r = y − f_t, for its kernel K_t and for K_0, as it started.
    """
    mapping, shape, _, y = paper()
    k = ns.kernel.compose(mapping, ns.kernel.MLP(depth=3, activation=activation, width=width))
    K = ns.operator.lattice(k, shape)
    watch = ns.empirical.movement(k, K.points, y, max_points=len(y))
    kernels: list[np.ndarray] = []

    def observe(step: int, params: Any) -> xr.Dataset:
        kernels.append(np.asarray(watch.kernels(params)))
        return xr.Dataset()

    rate = ns.dynamics.max_learning_rate(K) / 2
    options: dict[str, Any] = {"steps": STEPS, "learning_rate": rate, "seeds": LOOKED_AT, "seed": 1000}
    residual = y - ns.trainer.train(k, K.points, y, observe=observe, **options).train.values

    def along(kernel: np.ndarray, step: int) -> np.ndarray:
        left = residual[:, step]
        return np.einsum("si,sij,sj->s", left, np.broadcast_to(kernel, kernels[0].shape), left)

    infinite, found = np.asarray(watch.infinite), []
    for i, step in enumerate(STEPS[1:], start=1):
        in_theory = along(infinite, i)
        drift = np.linalg.norm(kernels[i] - kernels[0], axis=(1, 2)) / np.linalg.norm(kernels[0], axis=(1, 2))
        grown = np.linalg.eigvalsh(kernels[i]) / np.linalg.eigvalsh(kernels[0])
        claim = (
            f"1-D {activation}, step {step}, W = {width:,}: rate of what is left, over that in Θ (range of networks)"
        )
        detail = {
            "of the kernel as it started": float(np.median(along(kernels[0], i) / in_theory)),
            "drift of the kernel": float(drift.mean()),
            "its eigenvalues over those at the start, median": float(np.median(grown)),
        }
        found.append(Record(claim, Spread.of((along(kernels[i], i) / in_theory).tolist()), "×", detail=detail))
    return found


def kept(name: str, largest: int) -> xr.Dataset:
    """What was measured before, or is measured now."""
    path = RESULTS / f"width_law_{name.replace(' ', '_')}_{largest}.nc"
    if not path.exists():
        RESULTS.mkdir(parents=True, exist_ok=True)
        checkpoints = path.with_suffix("")
        ns.record.save(measured(CASES[name], largest, checkpoints), path)
        shutil.rmtree(checkpoints)
        print(name, file=sys.stderr, flush=True)
    return ns.record.load(path)


def records(name: str, d: xr.Dataset) -> list[Record]:
    """Powers of the width of one case, with the values that they come from."""
    words = {"error": "single", "ensemble_error": f"mean of {int(d.seeds.min())}", "bias": "bias"}
    found = []
    for step in d.step.values:
        for quantity, said in words.items():
            one = d.sel(step=step, quantity=quantity)
            low, high = (-float(one.exponent_interval.sel(bound=bound)) for bound in ("high", "low"))
            values: dict[str, float | str] = {
                f"W = {int(w)}": float(value) for w, value in zip(d.width.values, one.value.values, strict=True)
            }
            claim = f"{name}, step {int(step)}: power of the width, {said}"
            found.append(Record(claim, Spread(-float(one.exponent), low, high), "", detail=values))
    return found


def worst_law(name: str, d: xr.Dataset) -> Record:
    """The law of `ntkspec.selection.width`: of a single network at its worst step, with the scatter about it."""
    squared = (d.value**2).fillna(0)
    error = d.value.sel(quantity="error")
    # ⟨d²⟩ = bias² + spread², and the coefficient of variation is the scatter of a logarithm.
    relative = (squared.sel(quantity="bias") + squared.sel(quantity="spread")) / error**2 - 1
    worst = error.argmax("step")
    heights, scatter = np.log(error.isel(step=worst).values), relative.isel(step=worst).values
    slope, height = np.polyfit(np.log(d.width.values), heights, 1)
    off = heights - height - slope * np.log(d.width.values)
    residual = float(np.sqrt(np.mean(np.maximum(scatter, 0)) + np.mean(off**2)))
    detail = {"constant": float(np.exp(height)), "scatter of ln(error)": residual}
    claim = f"{name}: power of the width, single networks at their worst step"
    return Record(claim, Spread.of([float(slope)]), "", detail=detail)


def plot(found: dict[str, xr.Dataset]) -> None:
    """Errors of two problems against the width; what their biases are due to."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    for ax, name in zip(axes[0], ("1-D", "2-D"), strict=True):
        ns.plot.width_law(found[name].drop_attrs(), ax=ax, quantities=("error", "ensemble_error", "bias"))
        ax.set_title(f"{name}: error of one, of the mean of {int(found[name].seeds.min())}, and bias")
    for ax, name in zip(axes[1], ("1-D", "2-D"), strict=True):
        for case, mark in zip([case for case in found if case.startswith(name)], "os^v", strict=False):
            one = found[case].sel(quantity="bias").isel(step=-1)
            low, high = (one.value_interval.sel(bound=bound) for bound in ("low", "high"))
            bars = np.nan_to_num(np.maximum([one.value - low, high - one.value], 0))
            label = f"{case}: width$^{{{-float(one.exponent):.2f}}}$"
            ax.errorbar(one.width, one.value, yerr=bars, fmt=f"{mark}-", ms=4, lw=1.2, label=label)
        start = float(found[name].value.sel(quantity="bias").isel(step=-1, width=0))
        width = found[name].width.values
        ax.plot(width, start * width[0] / width, color="grey", lw=0.8, label="width$^{-1}$")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(width, [f"{w}" for w in width])
        ax.set(xlabel="Width", ylabel="Bias, relative to the signal", title=f"{name}: bias at step {STEPS[-1]}")
        ax.legend(fontsize="small", frameon=False)
    figure.savefig(PLOT, dpi=120)


def main(largest_1d: int = 4096, largest_2d: int = 4096, *names: str) -> list[Record]:
    """Measure, draw and print; widths up to the largest asked for, and only the cases of these names if any."""
    largest = {name: largest_1d if name.startswith("1-D") else largest_2d for name in names or CASES}
    found = {name: kept(name, size) for name, size in largest.items()}
    looked_at = []
    if not names:
        plot(found)
        widths = [width for width in WIDTHS[::2] if width <= WIDEST_LOOKED_AT]
        looked_at = [one for activation in LOOKED_INTO for width in widths for one in rates(width, activation)]
    plain = [worst_law(name, found[name]) for name in ("1-D", "2-D") if name in found]
    return show(plain + [record for name, one in found.items() for record in records(name, one)] + looked_at)


if __name__ == "__main__":
    largest_1d, largest_2d, *names = [*sys.argv[1:], "4096", "4096"][: max(2, len(sys.argv) - 1)]
    main(int(largest_1d), int(largest_2d), *names)

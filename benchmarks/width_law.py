"""How fast finite networks come near theory as they get wider, seeds and bias apart, and what the bias is due to.

Two problems: the paper's 1-D signal (64 points, b = 1 … 32, a = 1/b) and a photograph (32² training pixels, Gaussian
frequencies), depth 3, ntk parametrization, gradient descent at η = 1/λ_max from f − f_0 = 0, at steps 10, 100 and 300.
Beside them the same with networks linearised at their start, whose kernels stand still, and with a smooth activation;
how far kernels move, and how fast they learn what a network has not learned yet; and how that changes with the distance
that networks go.

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
import scipy.stats
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
    """Return the 1-D problem."""
    task = ns.task.signal.paper(num_points=64, oversampling=2)
    return ns.mapping.power_law(32, p=1.0), (64,), None, task.train_values


def photograph() -> Problem:
    """Return the 2-D problem."""
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
#: Networks of one width that learn the signal times less and less, and their activations: with a kink, bounded and
#: smooth, unbounded and smooth.
SCALED, SCALED_WIDTH, SCALED_INTO = 64, 256, ("relu", "erf", "gelu")
SIZES = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)


def measured(case: Case, largest: int, checkpoints: Path) -> xr.Dataset:
    """Return the law of a case by `ntkspec.validation.width_law`, from checkpoints if there are any."""
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


def along(kernels: np.ndarray, left: np.ndarray) -> np.ndarray:
    """rᵀK r of each network, of its kernel or of one for all, and of its residual r (seed, point)."""
    return np.einsum("si,sij,sj->s", left, np.broadcast_to(kernels, (len(left), *kernels.shape[-2:])), left)


def looked_at(
    width: int, activation: str, seeds: int, size: float = 1.0, **options: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Networks that learn the 1-D signal times `size`.

    Returns:
        Θ; their kernels, (step, seed, point, point); their residuals, (step, seed, point).
    """
    mapping, shape, _, y = paper()
    k = ns.kernel.compose(mapping, ns.kernel.MLP(depth=3, activation=activation, width=width))
    K = ns.operator.lattice(k, shape)
    watch = ns.empirical.movement(k, K.points, y, max_points=len(y))
    kernels: list[np.ndarray] = []

    def observe(_step: int, params: Any) -> xr.Dataset:
        kernels.append(np.asarray(watch.kernels(params)))
        return xr.Dataset()

    rate = ns.dynamics.max_learning_rate(K) / 2
    options = {"steps": STEPS, "learning_rate": rate, "seeds": seeds, "seed": 1000, "observe": observe, **options}
    left = size * y - ns.trainer.train(k, K.points, size * y, **options).train.values
    return np.asarray(watch.infinite), np.stack(kernels), np.moveaxis(left, 1, 0)


def rates(width: int, activation: str) -> list[Record]:
    """How fast a network's kernel would go on learning what it has not learned yet, over how fast Θ would.

    That is rᵀK r/rᵀΘr of the network's own residual r = y − f_t, for its kernel K_t and for K_0, as it started.
    """
    infinite, kernels, left = looked_at(width, activation, LOOKED_AT)
    found = []
    for i, step in enumerate(STEPS[1:], start=1):
        in_theory = along(infinite, left[i])
        drift = np.linalg.norm(kernels[i] - kernels[0], axis=(1, 2)) / np.linalg.norm(kernels[0], axis=(1, 2))
        grown = np.linalg.eigvalsh(kernels[i]) / np.linalg.eigvalsh(kernels[0])
        claim = (
            f"1-D {activation}, step {step}, W = {width:,}: rate of what is left, over that in Θ (range of networks)"
        )
        detail = {
            "of the kernel as it started": float(np.median(along(kernels[0], left[i]) / in_theory)),
            "drift of the kernel": float(drift.mean()),
            "its eigenvalues over those at the start, median": float(np.median(grown)),
        }
        found.append(Record(claim, Spread.of((along(kernels[i], left[i]) / in_theory).tolist()), "×", detail=detail))
    return found


def by_distance(activation: str) -> list[Record]:
    """How training changes rᵀK r, from K_0 to K_t, by the size of the signal.

    A network of width W that learns s y goes as far, next to what its weights are, as one of width W/s² that learns y:
    what its motion does to its kernel depends on s/√W alone. So this tells it of widths that are too large to train.
    In float64, in which the smallest changes are exact.
    """
    found = []
    for size in SIZES:
        _, kernels, left = looked_at(SCALED_WIDTH, activation, SCALED, size, dtype="float64")
        change = along(kernels[-1], left[-1]) / along(kernels[0], left[-1]) - 1
        error = 1.96 * float(change.std(ddof=1)) / np.sqrt(SCALED)
        mean = float(change.mean())
        claim = (
            f"1-D {activation}, step {STEPS[-1]}, W = {SCALED_WIDTH}, signal times 1/{1 / size:.0f}: "
            f"change of the rate of what is left (mean of {SCALED} networks, 95 %)"
        )
        grown = np.trace(kernels[-1], axis1=1, axis2=2) / np.trace(kernels[0], axis1=1, axis2=2) - 1
        detail = {"change of the trace": float(grown.mean())}
        found.append(Record(claim, Spread(mean, mean - error, mean + error), "", detail=detail))
    return found


def kept(name: str, largest: int) -> xr.Dataset:
    """Return what was measured before, or is measured now."""
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
    words = {"error": "single", "ensemble_error": f"mean of {int(d.seeds.min())}", "spread": "spread", "bias": "bias"}
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
    """Return the law of `ntkspec.selection._plan`.

    It is that of a single network at its worst step, with the scatter about it.
    """
    squared = (d.value**2).fillna(0)
    error = d.value.sel(quantity="error")
    # ⟨d²⟩ = bias² + spread², and the coefficient of variation is the scatter of a logarithm.
    relative = (squared.sel(quantity="bias") + squared.sel(quantity="spread")) / error**2 - 1
    worst = error.argmax("step")
    heights, scatter = np.log(error.isel(step=worst).values), relative.isel(step=worst).values
    fit = scipy.stats.linregress(np.log(d.width.values), heights)
    slope, height = float(fit.slope), float(fit.intercept)
    # 95 % confidence, from the scatter of the widths about the line.
    reach = float(scipy.stats.t.ppf(0.975, len(heights) - 2) * fit.stderr)
    off = heights - height - slope * np.log(d.width.values)
    residual = float(np.sqrt(np.mean(np.maximum(scatter, 0)) + np.mean(off**2)))
    detail = {"constant": float(np.exp(height)), "scatter of ln(error)": residual}
    claim = f"{name}: power of the width, single networks at their worst step"
    return Record(claim, Spread(slope, slope - reach, slope + reach), "", detail=detail)


def plot(found: dict[str, xr.Dataset], distances: dict[str, list[Record]]) -> None:
    """Errors of two problems against the width; what the bias of the first is due to."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    for ax, name in zip(axes[0], ("1-D", "2-D"), strict=True):
        ns.plot.width_law(found[name].drop_attrs(), ax=ax, quantities=("error", "ensemble_error", "bias"))
        ax.set_title(f"{name}: error of one, of the mean of {int(found[name].seeds.min())}, and bias")
    _plot_biases(axes[1, 0], {case: one for case, one in found.items() if case.startswith("1-D")})
    _plot_distances(axes[1, 1], distances)
    figure.savefig(PLOT, dpi=120)


def _plot_biases(ax: Any, found: dict[str, xr.Dataset]) -> None:
    for (case, law), mark in zip(found.items(), "os^v", strict=False):
        one = law.sel(quantity="bias").isel(step=-1)
        low, high = (one.value_interval.sel(bound=bound) for bound in ("low", "high"))
        bars = np.nan_to_num(np.maximum([one.value - low, high - one.value], 0))
        label = f"{case}: width$^{{{-float(one.exponent):.2f}}}$"
        ax.errorbar(one.width, one.value, yerr=bars, fmt=f"{mark}-", ms=4, lw=1.2, label=label)
    start = float(found["1-D"].value.sel(quantity="bias").isel(step=-1, width=0))
    width = found["1-D"].width.values
    ax.plot(width, start * width[0] / width, color="grey", lw=0.8, label="width$^{-1}$")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(width, [f"{w}" for w in width])
    ax.set(xlabel="Width", ylabel="Bias, relative to the signal", title=f"1-D: bias at step {STEPS[-1]}")
    ax.legend(fontsize="small", frameon=False)


def _plot_distances(ax: Any, distances: dict[str, list[Record]]) -> None:
    width = SCALED_WIDTH / np.square(SIZES)
    for (activation, records), mark in zip(distances.items(), "os^v", strict=False):
        value = np.array([one.value.median for one in records])
        error = value - [one.value.low for one in records]
        label = f"{activation}: {'falls' if (value < 0).all() else 'rises'}"
        ax.errorbar(width, np.abs(value), yerr=error, fmt=f"{mark}-", ms=4, lw=1.2, label=label)
    for power, style in ((-0.5, "--"), (-1.0, "-")):
        guide = 0.05 * (width / width[-2]) ** power
        ax.plot(width, guide, style, color="grey", lw=0.8, label=f"width$^{{{power:g}}}$")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set(
        xlabel="Width W/s² of networks that go as far (W = 256, signal times s)",
        ylabel="|change| of the kernel along the residual",
        title=f"1-D: what training does to the rate of what is left, step {STEPS[-1]}",
    )
    ax.legend(fontsize="small", frameon=False)


def main(largest_1d: int = 4096, largest_2d: int = 4096, *names: str) -> list[Record]:
    """Measure, draw and print; widths up to the largest asked for, and only the cases of these names if any."""
    largest = {name: largest_1d if name.startswith("1-D") else largest_2d for name in names or CASES}
    found = {name: kept(name, size) for name, size in largest.items()}
    moved = []
    if not names:
        widths = [width for width in WIDTHS[::2] if width <= WIDEST_LOOKED_AT]
        moved = [one for activation in LOOKED_INTO for width in widths for one in rates(width, activation)]
        distances = {activation: by_distance(activation) for activation in SCALED_INTO}
        moved += [one for records in distances.values() for one in records]
        plot(found, distances)
    plain = [worst_law(name, found[name]) for name in ("1-D", "2-D") if name in found]
    return show(plain + [record for name, one in found.items() for record in records(name, one)] + moved)


if __name__ == "__main__":
    largest_1d, largest_2d, *names = [*sys.argv[1:], "4096", "4096"][: max(2, len(sys.argv) - 1)]
    main(int(largest_1d), int(largest_2d), *names)

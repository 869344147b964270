"""What a trained network loses by taking the scale that theory recommends, on photographs, textures and text.

A network of 3 x 256 ReLU units behind 256 Gaussian frequencies is trained at every scale by 1,000 full-batch steps of
Adam, on every other pixel of each axis, and judged by the pixels between. The regret is the best of those PSNRs less
that of a network trained at the scale of `ntkspec.design`, which has seen the training pixels alone.

``python -m benchmarks.regret [SIZE [NAME ...]]`` goes on where an earlier run was stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, show

CELLS = Path(__file__).parent / "results" / "regret_cells.json"
SIZE = 64
#: Of the highest frequency that the training pixels can tell.
SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8)
STEPS = 1000
#: Networks at each scale; their mean PSNR is what is compared, since one alone is off by a few tenths of a dB.
SEEDS = 3
NUM_FREQUENCIES = 256


def trained_psnr(task: Any, scale: float, seed: int) -> float:
    """Test PSNR of a network trained at a scale, in dB."""
    import ntkspec as ns

    network = ns.kernel.MLP(depth=3, width=256, parametrization="standard")
    g = ns.mapping.gaussian(2, NUM_FREQUENCIES, scale=scale, seed=0, normalize=False)
    r = ns.trainer.train(
        ns.kernel.compose(g, network),
        task.train_points,
        task.train_values,
        steps=[0, STEPS],
        learning_rate=1e-3,
        loss="mean",
        optimizer="adam",
        output="sigmoid",
        init="glorot",
        centered=False,
        seeds=1,
        seed=seed,
        field_shape=task.shape,
    )
    error = (r.field.values[0, -1] - task.values)[task.test_mask]
    return float(-10 * np.log10(np.mean(error**2)))


def theory_psnr(task: Any, found: Any) -> float:
    """Test PSNR of infinitely wide networks at the scale, rate and steps that a design recommends."""
    import ntkspec as ns

    scale, rate, steps = (found.attrs[name] for name in ("scale", "learning_rate", "steps"))
    g = ns.mapping.gaussian(2, NUM_FREQUENCIES, scale=scale, seed=0, normalize=False)
    K = ns.operator.lattice(ns.kernel.compose(g, ns.kernel.MLP(depth=3)), task.shape, task.train_mask)
    p = ns.predict(K, task.train_values, steps=[steps], learning_rate=rate, everywhere=True)
    return float(-10 * np.log10(np.mean((p.field.values[-1] - task.values)[task.test_mask] ** 2)))


def converged(found: Any, criterion: str) -> float:
    """Return the scale that a criterion would take if training went on to the last time of the search."""
    from ntkspec.selection._family import family
    from ntkspec.selection._search import CRITERIA, plateau, quality

    at_end = found.isel(time=-1).sortby("scale")
    values = quality(criterion, at_end[criterion].values)
    return plateau(family("gaussian"), at_end.scale.values, values, CRITERIA[criterion][1]).taken


class Cells:
    """Numbers kept by name in a file, so that a long run can go on where it stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def get(self, name: str, make: Any) -> Any:
        """Return the number of a name, made where it is not there yet."""
        if name not in self.found:
            self.found[name] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self.path)
            print(name, self.found[name], file=sys.stderr, flush=True)
        return self.found[name]


def of_photograph(name: str, size: int, cells: Cells) -> tuple[Record, Record]:
    """Return the regret on one picture, of the other criteria by interpolation, and the error of the predicted PSNR."""
    import ntkspec as ns

    task = ns.task.image.photograph(name, size, colour=True)

    def trained(scale: float) -> np.ndarray:
        seeds = range(SEEDS)
        return np.array(
            [cells.get(f"{size} {name} {scale:.4g} {i}", lambda i=i: trained_psnr(task, scale, i)) for i in seeds]
        )

    scales = np.array(SHARES) * size / 4
    curve = np.array([trained(one) for one in scales])
    found = ns.design(task, num_frequencies=NUM_FREQUENCIES)
    own, theory = trained(found.attrs["scale"]), theory_psnr(task, found)
    best = max([*curve, own], key=np.mean)
    mean = curve.mean(axis=1)
    chosen = {f"by {one}": float(found.chosen_scale.sel(criterion=one)) for one in found.criterion.values}
    chosen |= {f"by {one}, converged": converged(found, one) for one in found.criterion.values}
    others = {
        f"{how} ({scale:.3g})": float(best.mean() - np.interp(np.log(scale), np.log(scales), mean))
        for how, scale in chosen.items()
    }
    regret = Record(
        f"regret on {name}, {size}² (range over {SEEDS} networks)",
        Spread(float(np.mean(best - own)), float(np.min(best - own)), float(np.max(best - own))),
        "dB",
        at_most=0.3,
        detail={
            "scale": found.attrs["scale"],
            "trained there (dB)": float(own.mean()),
            **others,
            "trained at each scale": ", ".join(f"{s:g}: {p:.2f}" for s, p in zip(scales, mean, strict=True)),
        },
    )
    return regret, _forecast(name, found, theory)


def _forecast(name: str, found: Any, theory: float) -> Record:
    interval = [found.attrs["psnr_low"], found.attrs["psnr_high"]]
    return Record(
        f"predicted less infinitely wide networks' PSNR, {name}",
        Spread.of([found.attrs["psnr"] - theory]),
        "dB",
        detail={
            "predicted": found.attrs["psnr"],
            "infinitely wide": theory,
            "within the stated interval": "yes" if interval[0] <= theory <= interval[1] else "no",
        },
    )


def _by_criterion(regrets: list[Record]) -> list[Record]:
    """Return the regret of every criterion, stopped early or converged, over all pictures."""
    of: dict[str, list[float]] = {}
    for one in regrets:
        for name, value in one.detail.items():
            if name.startswith("by "):
                of.setdefault(name.rpartition(" (")[0], []).append(float(value))
    return [
        Record(f"regret {name}, interpolated, over the pictures", Spread.of(all_of_it), "dB", detail={"mean": mean})
        for name, all_of_it in of.items()
        for mean in [float(np.mean(all_of_it))]
    ]


def _summary(records: list[tuple[Record, Record]]) -> list[Record]:
    regrets = [one.value.median for one, _ in records]
    off = np.array([abs(one.value.median) for _, one in records])
    held = sum(one.detail["within the stated interval"] == "yes" for _, one in records)
    return [
        Record(
            f"pictures of {len(regrets)} with a regret of at most 0.3 dB",
            Spread.of([sum(r <= 0.3 for r in regrets)]),
            "",
        ),
        Record("regret over the pictures", Spread.of(regrets), "dB"),
        Record(
            "size of predicted less infinitely wide networks' PSNR over the pictures",
            Spread.of(off.tolist()),
            "dB",
            detail={"root mean square": float(np.sqrt(np.mean(off**2))), "within the stated interval": f"{held}"},
        ),
    ]


def main(size: int = SIZE, names: tuple[str, ...] = ()) -> list[Record]:
    """Measure and print."""
    from ntkspec.task.image import PHOTOGRAPHS

    cells = Cells(CELLS)
    records = [of_photograph(name, size, cells) for name in names or PHOTOGRAPHS]
    return show(
        [
            *(one for one, _ in records),
            *(one for _, one in records),
            *_by_criterion([one for one, _ in records]),
            *_summary(records),
        ]
    )


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]), names=tuple(sys.argv[2:]))

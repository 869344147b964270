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
CRITERIA = ("leave_one_out", "expected", "generalised", "evidence")


def trained_psnr(task: Any, scale: float) -> list[float]:
    """Test PSNR of networks trained at a scale, in dB."""
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
        seeds=SEEDS,
        field_shape=task.shape,
    )
    error = (r.field.values[:, -1] - task.values)[:, task.test_mask]
    return (-10 * np.log10(np.mean(error**2, axis=tuple(range(1, error.ndim))))).tolist()


def design_of(task: Any) -> dict[str, Any]:
    """What `ntkspec.design` recommends, by each criterion."""
    import ntkspec as ns

    found = ns.design(task, num_frequencies=NUM_FREQUENCIES)
    scales = {name: float(found.chosen_scale.sel(criterion=name)) for name in CRITERIA}
    interval = {name: float(found.attrs[name]) for name in ("psnr", "psnr_low", "psnr_high")}
    return {"scales": scales, "default": float(found.attrs["scale"]), **interval}


class Cells:
    """Numbers kept by name in a file, so that a long run can go on where it stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def get(self, name: str, make: Any) -> Any:
        """The number of a name, made where it is not there yet."""
        if name not in self.found:
            self.found[name] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self.path)
            print(name, self.found[name], file=sys.stderr, flush=True)
        return self.found[name]


def of_photograph(name: str, size: int, cells: Cells) -> Record:
    """The regret on one picture; of the other criteria by interpolation between the trained scales."""
    import ntkspec as ns

    task = ns.task.image.photograph(name, size, colour=True)
    highest = size / 4
    scales = [share * highest for share in SHARES]
    curve = [cells.get(f"{size} {name} {s:g}", lambda s=s: trained_psnr(task, s)) for s in scales]
    plan = design_of(task)
    own = cells.get(f"{size} {name} {plan['default']:.4g}", lambda: trained_psnr(task, plan["default"]))
    best = max(*curve, own)
    others = {
        f"regret by {criterion}": best - float(np.interp(np.log(scale), np.log(scales), curve))
        for criterion, scale in plan["scales"].items()
    }
    detail: dict[str, float | str] = {
        "scale": plan["default"],
        "best trained scale": float(scales[int(np.argmax(curve))]),
        "trained there (dB)": own,
        "predicted (dB)": f"{plan['psnr']:.1f} ({plan['psnr_low']:.1f} … {plan['psnr_high']:.1f})",
        **others,
        "trained at each scale": ", ".join(f"{s:g}: {p:.2f}" for s, p in zip(scales, curve, strict=True)),
    }
    return Record(f"regret on {name}, {size}²", Spread.of([best - own]), "dB", at_most=0.3, detail=detail)


def main(size: int = SIZE, names: tuple[str, ...] = ()) -> list[Record]:
    """Measure and print."""
    from ntkspec.task.image import PHOTOGRAPHS

    cells = Cells(CELLS)
    return show([of_photograph(name, size, cells) for name in names or PHOTOGRAPHS])


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]), names=tuple(sys.argv[2:]))

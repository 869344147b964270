"""``ntkspec predict``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ntkspec.cli._shared import OfStudy, keep, noted, own_line, own_units, problems
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Predict(OfStudy):
    """The predicted training trajectory of a signal, for each scale: no training is done."""

    steps: tuple[int, ...] = ()
    """Training steps to report; by default twelve up to 100,000."""

    def run(self) -> dict[str, Any]:
        """Predict."""
        from ntkspec import plot, study

        task, found = problems(self)
        p = study.predictions(found, self.steps or study.PREDICTED_STEPS, progress=TerminalProgress())
        scale, step = study.best(p)

        def draw() -> Any:
            chosen = p.sel(scale=scale)
            return plot.points(chosen, step=step)[0] if task.shape is None else plot.prediction(chosen, step=step)

        return {
            "notices": list(task.notices),
            "best_scale": scale,
            "best_label": found[scale].label,
            "best_step": step,
            **own_units(task, scale, p.scale.attrs["units"]),
            "scales": [{"label": one.label, **_prediction_summary(p.sel(scale=scale))} for scale, one in found.items()],
            "files": keep(self.out, "prediction", p, draw),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Return a table of PSNR by step and scale."""
        lines = []
        for one in result["scales"]:
            lines.append(f"{one['label']}, learning rate {one['learning_rate']:.4g}")
            lines.append(f"{'step':>10} {'train dB':>9} {'test dB':>9}   error bound")
            for i, step in enumerate(one["step"]):
                test = one["test_psnr"][i] if "test_psnr" in one else math.nan
                lines.append(f"{step:10,} {one['train_psnr'][i]:9.2f} {test:9.2f}   {one['error_bound'][i]:.0e}")
        lines.append(f"best: {result['best_label']} at step {result['best_step']:,}")
        lines += own_line(result)
        return noted(result, lines)


def _prediction_summary(p: xr.Dataset) -> dict[str, Any]:
    curves = {name: p[name].values.tolist() for name in ("train_psnr", "test_psnr", "loss", "error_bound") if name in p}
    return {
        "scale": float(p.scale),
        "learning_rate": float(p.learning_rate),
        "step": p.step.values.tolist(),
        **curves,
    }

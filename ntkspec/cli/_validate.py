"""``ntkspec validate``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ntkspec.cli._shared import OfSignal, check_early, keep, load, noted, own_units
from ntkspec.config import NetworkConfig, StudyConfig, Training
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr

    from ntkspec.study import Check
    from ntkspec.trainer import Keep


@dataclass(frozen=True)
class ValidatedNetwork(NetworkConfig):
    """The network behind the mapping, whose width may be left to be found."""

    width: int | Literal["auto"] = 512  # type: ignore[assignment]  # only here can it be left open
    """Units in each hidden layer of the finite network; auto finds those that the theory needs for --tolerance, from
    a few small widths, and trains them."""


@dataclass(frozen=True)
class ValidatedStudy(StudyConfig):
    """What is asked of a signal, where the width may be left to be found."""

    network: ValidatedNetwork = field(default_factory=ValidatedNetwork)
    learning_rate: float | None = None
    """Of --loss, below the stability limit of the optimizer; by default half that of gradient descent on the kernel, or
    of a network where batches or a learned mapping lower it, and of an optimizer without a theory its usual one."""

    def settled(self) -> StudyConfig:
        """Return the same with a width that is a number: the default where it is to be found."""
        width = NetworkConfig().width if self.network.width == "auto" else self.network.width
        fields = {name: getattr(self, name) for name in StudyConfig.__dataclass_fields__ if name != "network"}
        return StudyConfig(network=NetworkConfig(**{**asdict(self.network), "width": width}), **fields)


@dataclass(frozen=True)
class Validate(OfSignal):
    """Train finite networks on a signal and say how far the prediction holds."""

    size: int = 32
    """Longest side of an image in pixels: training is real work."""
    length: int = 128
    """Longest 1-D signal in samples."""
    steps: tuple[int, ...] = ()
    """Training steps to compare at; by default eight up to 400."""
    tolerance: float = 0.05
    """Error, relative to the signal, up to which the theory is said to hold."""
    explain: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run controls that say what a gap is due to; together they may cost twenty-four times the run."""
    study: Annotated[ValidatedStudy, tyro.conf.arg(name=""), tyro.conf.FlagCreatePairsOff] = field(
        default_factory=ValidatedStudy
    )
    training: Training = field(default_factory=Training)
    seeds: int = 4
    """Networks to train."""
    checkpoint: Path | None = None
    """Directory for checkpoints of everything that is trained. Ctrl-C saves, too."""
    checkpoint_every: int | None = None
    """Save after every so many steps, as well as by the clock."""
    checkpoint_minutes: float = 10.0
    """Save when so many minutes have passed."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on from what --checkpoint holds, to the same bits."""
    resume_previous: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The same, from the checkpoint before the newest where that one cannot be used."""

    def run(self) -> dict[str, Any]:
        """Predict, find a width if asked, train at the best scale, compare, and explain if asked."""
        from ntkspec import plot, study

        check_early(self)
        width, keeping = self.study.network.width, self._keep()
        found = study.validated(
            load(self),
            self.study.settled(),
            training=self.training,
            steps=self.steps or study.TRAINED_STEPS,
            seeds=self.seeds,
            tolerance=self.tolerance,
            width="auto" if width == "auto" else None,
            controls=self.explain,
            keep=keeping,
            progress=TerminalProgress(),
        )
        task, check, law = found.task, found.check, found.law
        files = keep(self.out, "validation", check.validation, lambda: plot.validation(check.validation))
        if task.shape is None and check.held_out is not None:
            files += keep(self.out, "held_out", check.held_out, lambda: plot.points(check.held_out).flat[0])
        if check.causes is not None:
            files += keep(self.out, "causes", check.causes, lambda: plot.causes(check.causes))
        if law is not None:
            files += keep(self.out, "width_law", law, lambda: plot.width_law(law))
        return {
            "notices": list(task.notices),
            "scale": found.scale,
            "label": check.problem.label,
            **own_units(task, found.scale, check.problem.number["units"]),
            "learning_rate": float(check.training.attrs["learning_rate"]),
            **summary_of_check(check),
            **({} if law is None else {"width_law": law_summary(law)}),
            **_explained(check),
            "files": files,
        }

    def _keep(self) -> Keep:
        from ntkspec.trainer import Keep

        resume: bool | Literal["previous"] = "previous" if self.resume_previous else self.resume
        if self.checkpoint is not None:
            return Keep(self.checkpoint, self.checkpoint_every, self.checkpoint_minutes, resume)
        for name in ("checkpoint_every", "checkpoint_minutes", "resume", "resume_previous"):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(f"--{name.replace('_', '-')} needs the directory of the checkpoints: --checkpoint DIR")
        return Keep()

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Errors by step, and the verdict."""
        rate = result["learning_rate"]
        of = "of the optimizer" if math.isnan(rate) else f"{rate:.4g}"
        lines = [f"{result['label'].capitalize()}, learning rate {of}."]
        if "width_law" in result:
            lines.append(result["width_law"]["verdict"])
        lines += _table(result)
        lines += _causes(result.get("causes", {}))
        return noted(result, [*lines, result["verdict"]])


def _table(result: dict[str, Any]) -> list[str]:
    """Errors by step, beside the spread of networks over the predicted one where there is one."""
    columns = {"error": "error", "± s.e.": "error_sem", "of mean": "ensemble_error"}
    lines = ["Distance of networks to the prediction, and of their mean, relative to the signal:"]
    if "spread_ratio" in result:
        columns |= {"spread": "spread", "predicted": "predicted_spread", "ratio": "spread_ratio"}
        columns |= {"95 % from": "spread_ratio_low", "to": "spread_ratio_high"}
        lines = [f"{lines[0][:-1]}; their spread, and its ratio to the predicted one:"]
    decibels = {"dB pred.": "test_psnr", "dB train.": "trained_test_psnr"} if "test_psnr" in result else {}
    if decibels:
        lines = [f"{lines[0][:-1]}; PSNR at held-out points of the prediction, and of networks on average:"]
    lines.append(" ".join([f"{'step':>8}", *(f"{name:>9}" for name in columns | decibels)]))
    for i, step in enumerate(result["step"]):
        shares = [_percent(result[name][i]) for name in columns.values()]
        lines.append(" ".join([f"{step:8,}", *shares, *(f"{result[name][i]:9.2f}" for name in decibels.values())]))
    return lines


def _percent(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:9.2%}"


def _causes(causes: dict[str, Any]) -> list[str]:
    """Shares of the squared error by step, a column for each cause."""
    if not causes:
        return []
    lines = ["Share of the squared error that goes with each cause, ± its standard error:"]
    lines.append(" ".join([f"{'step':>8}", *(f"{name:>19}" for name in causes)]))
    for i, step in enumerate(next(iter(causes.values()))["step"]):
        lines.append(f"{step:8,}")
        for one in causes.values():
            error = one["share_error"][i]
            share = _percent(one["share"][i]) + ("" if math.isnan(error) else f" ±{error:.1%}")
            lines[-1] += f" {share:>19}"
    return lines


def summary_of_check(check: Check) -> dict[str, Any]:
    """Return a comparison as JSON holds it, with the PSNR of both sides at held-out points."""
    from ntkspec.validation._prose import remarks

    v, held_out = check.validation, {}
    if check.held_out is not None:
        trained = check.held_out.trained_psnr
        held_out = {
            "test_psnr": check.held_out.test_psnr.values.tolist(),
            "trained_test_psnr": trained.mean("seed").values.tolist(),
            "trained_test_psnr_by_seed": trained.transpose("seed", "step").values.tolist(),
        }
    curves = ["error", "error_sem", "ensemble_error", "spread"]
    if "spread_ratio" in v:
        # The interval by its ends, a list over steps each.
        bounds = {f"spread_ratio_{bound}": v.spread_ratio_interval.sel(bound=bound) for bound in ("low", "high")}
        v = v.assign({name: ends.drop_vars("bound") for name, ends in bounds.items()})
        curves += ["systematic_error", "predicted_spread", "spread_ratio", *bounds]
    frequencies = {}
    if "error_by_frequency" in v:
        by_step = v.error_by_frequency.transpose("step", "frequency")
        frequencies = {"frequency": v.frequency.values.tolist(), "error_by_frequency": by_step.values.tolist()}
    return {
        "verdict": v.attrs["verdict"],
        "remarks": remarks(v),
        "holds_until_step": int(v.attrs["holds_until_step"]),
        "tolerance": float(v.attrs["tolerance"]),
        "width": int(v.attrs["width"]),
        "step": v.step.values.tolist(),
        **{name: v[name].values.tolist() for name in curves},
        "error_interval": {bound: v.error_interval.sel(bound=bound).values.tolist() for bound in ("low", "high")},
        **frequencies,
        **held_out,
    }


def law_summary(d: xr.Dataset) -> dict[str, Any]:
    """Return a width law as JSON holds it."""
    return {
        "verdict": d.attrs["verdict"],
        "needed_width": d.attrs["needed_width"],
        "interval": [d.attrs["needed_width_low"], d.attrs["needed_width_high"]],
        "width": d.width.values.tolist(),
        "step": d.step.values.tolist(),
        "error": d.value.sel(quantity="error").values.tolist(),
        "exponent": d.exponent.sel(quantity="error").values.tolist(),
    }


def _explained(found: Check) -> dict[str, Any]:
    """Return what controls found as JSON holds it; nothing where there were none."""
    if found.causes is None:
        return {}
    causes = {
        str(name): {
            "step": found.causes.step.values.tolist(),
            "share": found.causes.share.sel(cause=name).values.tolist(),
            "share_error": found.causes.share_error.sel(cause=name).values.tolist(),
        }
        for name in found.causes.cause.values
    }
    return {"causes": causes, "cause": found.causes.attrs["cause"]}

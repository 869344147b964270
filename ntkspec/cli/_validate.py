"""``ntkspec validate``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ntkspec.cli._shared import AsJson, Columns, Signal, Table, keep, own_units, problems
from ntkspec.config import NetworkConfig, StudyConfig, Training
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr

    from ntkspec.study import Check, Problem
    from ntkspec.task import Scattered, Task
    from ntkspec.trainer import Keep


#: Width that is trained at most where it is left to be found; beyond, the widest network of the law is.
WIDEST = 2048


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

    def settled(self, width: int, *, with_rate: bool) -> StudyConfig:
        """Return the same with a width that is known; without the learning rate where that is no rate of the theory."""
        of_network = {**asdict(self.network), "width": width}
        fields = {name: getattr(self, name) for name in StudyConfig.__dataclass_fields__ if name != "network"}
        found = StudyConfig(network=NetworkConfig(**of_network), **fields)
        return found if with_rate else replace(found, learning_rate=None)


@dataclass(frozen=True)
class Validate:
    """Train finite networks on a signal and say how far the prediction holds."""

    signal: Signal = None
    size: int = 32
    """Longest side of an image in pixels: training is real work."""
    length: int = 128
    """Longest 1-D signal in samples."""
    white: float | None = None
    """Level of white of an image file, such as 4095; by default the largest number of its depth."""
    table: Table = field(default_factory=Columns)
    steps: tuple[int, ...] = ()
    """Training steps to compare at; by default eight up to 400."""
    tolerance: float = 0.05
    """Error, relative to the signal, up to which the theory is said to hold."""
    explain: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run controls that say what a gap is due to; together they may cost twenty-four times the run."""
    out: Path | None = None
    """Write validation.nc and validation.png (causes, width_law likewise) to this directory."""
    study: Annotated[ValidatedStudy, tyro.conf.arg(name="")] = field(default_factory=ValidatedStudy)
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
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Predict, find a width if asked, train at the best scale, compare, and explain if asked."""
        from ntkspec import plot, study
        from ntkspec.validation._width_law import checked_by, not_checked, width_to_train

        self._require_sense()
        width, keeping = self.study.network.width, self._keep()
        keeping.require_usable(below=True)
        known = self.training.optimizer.has_theory
        # The kernel, and with it the best scale, are those of infinite width.
        plain = self.study.settled(NetworkConfig().width if width == "auto" else width, with_rate=known)
        momentum = study.momentum_of(self.training)
        task, by_scale = problems(self, plain, self._loss, self._within_range, momentum)
        steps = self.steps or study.TRAINED_STEPS
        plan = study.plan(
            next(iter(by_scale.values())),
            steps,
            training=self.training,
            learning_rate=None if known else self.study.learning_rate,
            seeds=self.seeds,
            # A width that a law asks for is checked on networks that the law has not seen.
            seed=self.study.seed + (width == "auto"),
            controls=self.explain,
        )
        progress = TerminalProgress()
        scale, _ = study.best(study.predictions(by_scale, steps, of=momentum, progress=progress))
        chosen, law = by_scale[scale], None
        if self.study.learning_rate is None:
            chosen = study.steady(chosen, plan)
        if width == "auto":
            law, chosen = self._found(chosen, steps, keeping, progress)
        found = study.check(
            "signal",
            task.name,
            chosen,
            plan,
            tolerance=self.tolerance,
            controls=self.explain,
            keep=keeping,
            progress=progress,
        )
        if law is not None:
            trained = found.validation.attrs["width"] == width_to_train(law, WIDEST)
            law = checked_by(law, found.validation) if trained else not_checked(law, WIDEST)
        files = keep(self.out, "validation", found.validation, lambda: plot.validation(found.validation))
        if found.causes is not None:
            files += keep(self.out, "causes", found.causes, lambda: plot.causes(found.causes))
        if law is not None:
            files += keep(self.out, "width_law", law, lambda: plot.width_law(law))
        return {
            "notices": list(task.notices),
            "scale": scale,
            **own_units(task, scale),
            "learning_rate": float(found.training.attrs["learning_rate"]),
            **summary_of_check(found.validation),
            **({} if law is None else {"width_law": law_summary(law)}),
            **_explained(found),
            "files": files,
        }

    @property
    def _loss(self) -> Literal["sum", "mean"]:
        """Loss of the prediction."""
        return "mean" if self.training.loss == "mean" else "sum"

    def _keep(self) -> Keep:
        from ntkspec.trainer import Keep

        resume: bool | Literal["previous"] = "previous" if self.resume_previous else self.resume
        if self.checkpoint is not None:
            return Keep(self.checkpoint, self.checkpoint_every, self.checkpoint_minutes, resume)
        for name in ("checkpoint_every", "checkpoint_minutes", "resume", "resume_previous"):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(f"{name} needs the directory of the checkpoints: --checkpoint DIR")
        return Keep()

    def _within_range(self, chosen: Task | Scattered) -> Task | Scattered:
        """Return the signal in [0, 1], where the output is a sigmoid: a 1-D one is taken in [−1/2, 1/2]."""
        if self.training.output != "sigmoid" or min(chosen.train_values.min(), chosen.test_values.min(initial=0)) >= 0:
            return chosen
        return chosen.raised(0.5, "Values raised by 0.5 to [0, 1], where a sigmoid's are.")

    def _require_sense(self) -> None:
        """Refuse what needs no signal to be refused."""
        from ntkspec.checks import Refused, check_positive

        check_positive("tolerance", self.tolerance, "such as 0.05, relative to the signal")
        rate = self.study.learning_rate
        if rate is not None:
            check_positive("learning_rate", rate, "or leave it out, for one from the kernel")
        # What the law of the width says nothing about.
        others = self.training.unlike(Training(loss=self._loss, dtype=self.training.dtype))
        if self.study.network.width == "auto" and others:
            options = {one.field: str(one.mine) if one.field == "optimizer" else one.mine for one in others}
            raise Refused(
                "--width auto asks theory, which here is of full-batch gradient descent on squares of a linear output "
                f"from zero, and {', '.join(f'{{{name}}}' for name in options)} is not that; give a number",
                **options,
            )

    def _found(self, one: Problem, steps: tuple[int, ...], keeping: Keep, progress: Any) -> tuple[xr.Dataset, Problem]:
        """Return the width law of a problem, and the problem at the width that it says."""
        from ntkspec.validation._width_law import at_width, width_law, width_to_train

        law = width_law(
            one.kernel,
            one.K.points,
            one.task.train_values,
            steps=steps,
            learning_rate=one.learning_rate,
            loss=one.loss,
            accuracy=self.tolerance,
            K=one.K,
            seed=self.study.seed,
            check=False,
            dtype=self.training.dtype,
            checkpoint=keeping.within("widths"),
            progress=progress,
        )
        # The comparison that follows trains that width, and so checks the law.
        width = width_to_train(law, WIDEST) or int(law.width.max())
        return law, replace(one, kernel=at_width(one.kernel, width))

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Errors by step, and the verdict."""
        lines = [*(f"note: {notice}" for notice in result["notices"])]
        rate = result["learning_rate"]
        lines.append(
            f"Scale {result['scale']:g}, learning rate {'of the optimizer' if math.isnan(rate) else f'{rate:.4g}'}."
        )
        if "width_law" in result:
            lines.append(result["width_law"]["verdict"])
        lines += _table(result)
        lines += _causes(result.get("causes", {}))
        return "\n".join([*lines, result["verdict"], *result["files"]])


def _table(result: dict[str, Any]) -> list[str]:
    """Errors by step, beside the spread of networks over the predicted one where there is one."""
    columns = {"error": "error", "± s.e.": "error_sem", "of mean": "ensemble_error"}
    lines = ["Distance of networks to the prediction, and of their mean, relative to the signal:"]
    if "spread_ratio" in result:
        columns |= {"spread": "spread", "predicted": "predicted_spread", "ratio": "spread_ratio"}
        columns |= {"95 % from": "spread_ratio_low", "to": "spread_ratio_high"}
        lines = [f"{lines[0][:-1]}; their spread, and its ratio to the predicted one:"]
    lines.append(" ".join([f"{'step':>8}", *(f"{name:>9}" for name in columns)]))
    for i, step in enumerate(result["step"]):
        values = [result[name][i] for name in columns.values()]
        lines.append(" ".join([f"{step:8,}", *map(_percent, values)]))
    return lines


def _percent(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:9.2%}"


def _causes(causes: dict[str, Any]) -> list[str]:
    """Shares of the squared error by step, a column for each cause."""
    if not causes:
        return []
    steps = next(iter(causes.values()))["step"]
    lines = ["Share of the squared error that goes with each cause, ± its standard error:"]
    lines.append(" ".join([f"{'step':>8}", *(f"{name:>19}" for name in causes)]))
    for i, step in enumerate(steps):
        shares = (f"{_percent(one['share'][i])}{_error(one['share_error'][i])}" for one in causes.values())
        lines.append(" ".join([f"{step:8,}", *(f"{share:>19}" for share in shares)]))
    return lines


def _error(value: float) -> str:
    return "" if math.isnan(value) else f" ±{value:.1%}"


def summary_of_check(v: xr.Dataset) -> dict[str, Any]:
    """Return a validation as JSON holds it."""
    from ntkspec.validation._prose import remarks

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

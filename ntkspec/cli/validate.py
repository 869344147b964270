"""``ntkspec validate``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ntkspec.cli.shared import AsJson, Signal, keep, problems
from ntkspec.config import NetworkConfig, StudyConfig
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr

    from ntkspec.study import Check, Problem


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

    def settled(self, width: int) -> StudyConfig:
        """The same with a width that is known."""
        of_network = {**asdict(self.network), "width": width}
        fields = {name: getattr(self, name) for name in StudyConfig.__dataclass_fields__ if name != "network"}
        return StudyConfig(network=NetworkConfig(**of_network), **fields)


@dataclass(frozen=True)
class Validate:
    """Train finite networks on a signal and say how far the prediction holds."""

    signal: Signal = None
    size: int = 32
    """Longest side of an image in pixels: training is real work."""
    length: int = 128
    """Longest 1-D signal in samples."""
    steps: tuple[int, ...] = ()
    """Training steps to compare at; by default eight up to 400."""
    seeds: int = 4
    """Networks to train."""
    tolerance: float = 0.05
    """Error, relative to the signal, up to which the theory is said to hold."""
    optimizer: str = "gradient_descent"
    """That trains: gradient_descent, heavy_ball, nesterov or any of optax, such as adam. What has no theory is compared
    with gradient descent all the same."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Of the network; the prediction is of a linear one."""
    explain: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run controls that say what a gap is due to; together they may cost twenty-four times the run."""
    out: Path | None = None
    """Write validation.nc and validation.png (causes, width_law likewise) to this directory."""
    study: Annotated[ValidatedStudy, tyro.conf.arg(name="")] = field(default_factory=ValidatedStudy)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Predict, find a width if asked, train at the best scale, compare, and explain if asked."""
        from ntkspec import plot, study
        from ntkspec.trainer.optimizer import as_optimizer

        width, trained_by = self.study.network.width, as_optimizer(self.optimizer)
        if width == "auto" and (trained_by.name != "gradient_descent" or self.output != "linear"):
            raise ValueError(
                f"--width auto asks theory, which here is of gradient descent on a linear output, and it is "
                f"{trained_by} with a {self.output} one that is trained; give a number"
            )
        # The kernel, and with it the best scale, are those of infinite width.
        plain = self.study.settled(NetworkConfig().width if width == "auto" else width)
        task, by_scale = problems(replace(self, study=plain))  # type: ignore[arg-type]  # no longer open
        steps = self.steps or study.TRAINED_STEPS
        progress = TerminalProgress()
        scale, _ = study.best(study.predictions(by_scale, steps, progress=progress))
        chosen, law = by_scale[scale], None
        if width == "auto":
            law, chosen = self._found(chosen, steps, progress)
        found = study.check(
            "signal",
            task.name,
            chosen,
            steps,
            progress=progress,
            seeds=self.seeds,
            seed=self.study.seed,
            tolerance=self.tolerance,
            optimizer=self.optimizer,
            output=self.output,
            controls=self.explain,
        )
        files = keep(self.out, "validation", found.validation, lambda: plot.validation(found.validation))
        if found.causes is not None:
            files += keep(self.out, "causes", found.causes, lambda: plot.causes(found.causes))
        if law is not None:
            files += keep(self.out, "width_law", law, lambda: plot.width_law(law))
        return {
            "notices": list(task.notices),
            "scale": scale,
            "learning_rate": chosen.learning_rate,
            **check_summary(found.validation),
            **({} if law is None else {"width_law": law_summary(law)}),
            **_explained(found),
            "files": files,
        }

    def _found(self, one: Problem, steps: tuple[int, ...], progress: Any) -> tuple[xr.Dataset, Problem]:
        """The width law of a problem, and the problem at the width that it says."""
        from ntkspec.validation.width import at_width, width_law, width_to_train

        law = width_law(
            one.kernel,
            one.K.points,
            one.task.train_values,
            steps=steps,
            learning_rate=one.learning_rate,
            accuracy=self.tolerance,
            K=one.K,
            seed=self.study.seed,
            check=False,
            progress=progress,
        )
        # The comparison that follows trains that width, and so checks the law.
        width = width_to_train(law, WIDEST) or int(law.width.max())
        return law, replace(one, kernel=at_width(one.kernel, width))

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Errors by step, and the verdict."""
        lines = [*(f"note: {notice}" for notice in result["notices"])]
        lines.append(f"scale {result['scale']:g}, learning rate {result['learning_rate']:.4g}")
        if "width_law" in result:
            lines.append(result["width_law"]["verdict"])
        lines.append(f"{'step':>8} {'error':>8} {'± s.e.':>8} {'of mean':>8}")
        rows = zip(result["step"], result["error"], result["error_sem"], result["ensemble_error"], strict=True)
        lines += [f"{step:8,} {error:8.2%} {sem:8.2%} {mean:8.2%}" for step, error, sem, mean in rows]
        for name, one in result.get("causes", {}).items():
            lines.append(f"{name:>16} explains " + " ".join(f"{share:8.1%}" for share in one["share"]))
        return "\n".join([*lines, result["verdict"], *result["files"]])


def check_summary(v: xr.Dataset) -> dict[str, Any]:
    """A validation as JSON holds it."""
    curves = ("error", "error_sem", "ensemble_error", "spread")
    return {
        "verdict": v.attrs["verdict"],
        "holds_until_step": int(v.attrs["holds_until_step"]),
        "tolerance": float(v.attrs["tolerance"]),
        "width": int(v.attrs["width"]),
        "step": v.step.values.tolist(),
        **{name: v[name].values.tolist() for name in curves},
    }


def law_summary(d: xr.Dataset) -> dict[str, Any]:
    """A width law as JSON holds it."""
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
    """What controls found as JSON holds it; nothing where there were none."""
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

"""A prediction and the training it is checked by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import xarray as xr

from ntkspec import dynamics
from ntkspec.config import TrainingConfig
from ntkspec.dynamics._ensemble import bytes_of_ensemble
from ntkspec.limits import refuse_if_too_large
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.study._problem import Problem
from ntkspec.study._theory import predicted, predicted_occupancy, with_quality
from ntkspec.trainer import Checkpoints, require_trainable, stability_limit, train
from ntkspec.trainer._optimizer import as_optimizer
from ntkspec.trainer._rate import rounded_down
from ntkspec.validation import explain, validate

__all__ = ["TRAINED_STEPS", "Check", "check", "momentum_of", "require_possible", "steady"]

#: Steps that finite networks are trained for.
TRAINED_STEPS = (0, 1, 3, 10, 30, 100, 200, 400)


@dataclass(frozen=True)
class Check:
    """A prediction, the training it is checked by, and the comparison.

    Attributes:
        key: a short name for files and groups.
        name: of the signal, in words.
        problem: the signal and its kernel.
        prediction: from `ntkspec.predict`.
        training: from `ntkspec.trainer.train`.
        validation: from `ntkspec.validate`.
        causes: from `ntkspec.validation.explain`; None where no controls were run.
    """

    key: str
    name: str
    problem: Problem
    prediction: xr.Dataset
    training: xr.Dataset
    validation: xr.Dataset
    causes: xr.Dataset | None = None


def require_possible(
    one: Problem,
    steps: Sequence[int],
    *,
    training: TrainingConfig,
    learning_rate: float | None = None,
    controls: bool = False,
) -> None:
    """Refuse what `check` would, before any work; arguments as there.

    Raises:
        ValueError: with what does not fit, and what to try.
    """
    if training.loss == "logistic" and training.output != "sigmoid":
        raise ValueError(
            "loss=logistic trains a logit, which does not compare with labels; take output=sigmoid with it, which is "
            "compared with the labels in [0, 1]"
        )
    if training.loss == "logistic" and (controls or training.schedule != "constant"):
        what = "controls (explain) start from a" if controls else "a schedule is known to a"
        raise ValueError(f"{what} prediction of squares, and the loss is logistic; take loss=sum or mean, or leave it")
    if steps[-1] < 1:
        raise ValueError(f"steps={list(steps)} has none after the start, and so nothing to compare; add one")
    if 0 not in steps and training.output == "sigmoid":
        raise ValueError(
            f"steps={list(steps)} leaves out 0, where a sigmoid is compared with the function it starts from; begin "
            "with 0"
        )
    if not training.centered:
        _require_limit(one, steps, training, controls)
    settings = _settings(one, steps, training, learning_rate)
    require_trainable(one.kernel, one.K.points, one.task.train_values, **settings)


def steady(one: Problem, training: TrainingConfig) -> Problem:
    """The problem at a learning rate at which its networks are stable, too.

    Batches and a learned mapping have a lower limit than theory, which has neither: half of that is taken if the
    problem's own learning rate is above it. An optimizer without a theory has a rate of its own.
    """
    lowered = training.batch_size is not None or bool(training.trainable)
    if not lowered or not as_optimizer(training.optimizer).has_theory:
        return one
    settings: dict[str, Any] = {**asdict(training), "schedule": None}
    limit = stability_limit(one.kernel, one.K.points, one.task.train_values, **settings)
    return replace(one, learning_rate=min(one.learning_rate, rounded_down(limit / 2)))


def _require_limit(one: Problem, steps: Sequence[int], training: TrainingConfig, controls: bool) -> None:
    """Refuse networks that are not centred where theory has no covariance for them, or they would not show it.

    Raises:
        ValueError: with what does not fit, and what to try.
    """
    if training.output != "linear":
        raise ValueError(
            f"centered=False compares the spread of networks with their covariance in theory, which is of a linear "
            f"output, and output={training.output}; take output=linear, or leave centered=False out"
        )
    if training.seeds < 3:
        raise ValueError(
            f"seeds={training.seeds} with centered=False; expected at least 3, for fewer networks do not tell their "
            "spread"
        )
    if controls and 0 not in steps:
        raise ValueError(
            f"steps={list(steps)} leaves out 0, from where controls (explain) hold each network of centered=False "
            "against theory; begin with 0"
        )
    n = one.K.num_points
    refuse_if_too_large(
        bytes_of_ensemble(n, n, n, len(steps)),
        f"the covariance of networks (centered=False) at {n:,} training points and {len(steps)} steps",
        "take a smaller size or length, or leave centered=False out",
    )


def check(
    key: str,
    name: str,
    one: Problem,
    steps: Sequence[int],
    *,
    training: TrainingConfig,
    learning_rate: float | None = None,
    seed: int = 0,
    tolerance: float = 0.05,
    controls: bool = False,
    checkpoint: Checkpoints | None = None,
    resume: bool | str = False,
    progress: Progress = NO_PROGRESS,
) -> Check:
    """Predict a problem, train it from the same start, and compare.

    Theory knows gradient descent, also with a schedule, momentum without one, and the logistic loss of a sigmoid output
    as a flow. A sigmoid output with a loss of squares is compared with a linear one that starts from its ½; an
    optimizer without a theory with gradient descent at the problem's own learning rate. Networks that are not centred
    are compared as an ensemble: their mean with the prediction, their spread with its covariance.

    Args:
        key: a short name for files and groups.
        name: of the signal, in words.
        one: the problem; its network needs a width.
        steps: whole training steps to compare at.
        training: how networks are trained, and how many.
        learning_rate: of an optimizer that has no theory; None takes its usual one. The others train at the problem's.
        seed: of the first network.
        tolerance: up to which error, relative to the signal, the theory is said to hold.
        controls: also run controls, which say what a gap is due to; see `ntkspec.validation.explain`.
        checkpoint: where all that is trained is saved, each run in a folder of its own.
        resume: as in `ntkspec.trainer.train`.
        progress: reporter.

    Returns:
        Prediction, training and comparison, all with the learned function on the whole lattice.

    Raises:
        ValueError: if something does not fit, as `require_possible` would have said, or a checkpoint is another run's.
    """
    require_possible(one, steps, training=training, learning_rate=learning_rate, controls=controls)
    settings = _settings(one, steps, training, learning_rate) | {"seed": seed}
    p = _prediction(one, steps, training, progress)
    ensemble = None if training.centered else _limit(one, steps, training, progress)
    r = train(
        one.kernel,
        one.K.points,
        one.task.train_values,
        checkpoint=None if checkpoint is None else checkpoint.within("networks"),
        resume=resume,
        progress=progress,
        **settings,
    )
    causes = None
    if controls:
        causes = explain(
            one.kernel,
            p,
            r,
            K=one.K,
            options={} if settings["schedule"] is None else {"schedule": settings["schedule"]},
            checkpoint=None if checkpoint is None else checkpoint.within("controls"),
            resume=resume,
            progress=progress,
        )
    v = validate(p, r, tolerance=tolerance, ensemble=ensemble, causes=causes)
    return Check(key, name, one, p, with_quality(r, one.task), v, causes)


def _settings(
    one: Problem, steps: Sequence[int], training: TrainingConfig, learning_rate: float | None
) -> dict[str, Any]:
    """What `train` is given beside the points and labels."""
    known = as_optimizer(training.optimizer).has_theory
    return {
        **asdict(training),
        "schedule": _schedule(steps, training),
        "steps": steps,
        "learning_rate": one.learning_rate if known else learning_rate,
        "field_shape": one.task.shape,
    }


def _schedule(steps: Sequence[int], training: TrainingConfig) -> dynamics.Schedule | None:
    return dynamics.cosine(int(steps[-1])) if training.schedule == "cosine" else None


def _prediction(one: Problem, steps: Sequence[int], training: TrainingConfig, progress: Progress) -> xr.Dataset:
    """What theory has to say that is nearest to this training."""
    if training.loss == "logistic":
        return predicted_occupancy(one, steps, progress=progress)
    # A centred sigmoid starts at ½ everywhere.
    start = 0.5 if training.output == "sigmoid" else None
    return predicted(one, steps, initial=start, of=_filters(steps, training), progress=progress)


def _limit(one: Problem, steps: Sequence[int], training: TrainingConfig, progress: Progress) -> xr.Dataset:
    """Of infinitely wide networks, each from a start of its own: their mean and covariance at the training points."""
    return dynamics.ensemble(
        one.kernel,
        one.K.points,
        one.task.train_values,
        one.K.points,
        steps=steps,
        learning_rate=one.learning_rate,
        loss=one.loss,
        dynamics=_filters(steps, training),
        progress=progress,
    )


def _filters(steps: Sequence[int], training: TrainingConfig) -> dynamics.Dynamics | None:
    """What the optimizer does to a mode; None is gradient descent, also in place of what has no theory."""
    return momentum_of(training) or _schedule(steps, training)


def momentum_of(training: TrainingConfig) -> dynamics.Dynamics | None:
    """The dynamics of an optimizer with momentum that theory knows, and whose limit is another than descent's."""
    chosen = as_optimizer(training.optimizer)
    if chosen.name not in ("heavy_ball", "nesterov"):
        return None
    found: dynamics.Dynamics = getattr(dynamics, chosen.name)(chosen.momentum)
    return found

"""One signal predicted at several scales and trained at the best, at a width that is given or found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import xarray as xr

from ntkspec.checks import Refused, check_positive
from ntkspec.config import StudyConfig
from ntkspec.dynamics import Loss
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.study._check import TRAINED_STEPS, Check, check, momentum_of, plan, steady
from ntkspec.study._problem import noted, problems
from ntkspec.study._theory import best, predictions
from ntkspec.task import Scattered, Task
from ntkspec.trainer import NO_KEEP, Keep, Training
from ntkspec.validation._width_law import at_width, checked_by, not_checked, width_law, width_to_train

__all__ = ["Validated", "validated"]

#: Width that is trained at most where it is left to be found; beyond, the widest network of the law is.
WIDEST = 2048


@dataclass(frozen=True)
class Validated:
    """A signal's prediction, held against training.

    Attributes:
        task: the signal, as it was learned.
        scale: of the mapping that was trained, cycles per unit.
        check: prediction, training and comparison.
        law: from `ntkspec.validation.width_law`; None where the width was given.
    """

    task: Task | Scattered
    scale: float
    check: Check
    law: xr.Dataset | None


def validated(
    task: Task | Scattered,
    config: StudyConfig,
    *,
    training: Training = Training(),  # noqa: B008  # it is frozen
    steps: Sequence[int] = TRAINED_STEPS,
    seeds: int = 4,
    tolerance: float = 0.05,
    width: Literal["auto"] | None = None,
    controls: bool = False,
    keep: Keep = NO_KEEP,
    progress: Progress = NO_PROGRESS,
) -> Validated:
    """Predict a signal at every scale, train networks at the best one, and compare.

    Args:
        task: signal; where the output is a sigmoid, it is raised to [0, 1].
        config: scales, network and learning rate, which for an optimizer without a theory is that of training alone;
            by default half the stability limit of theory, or of a network where batches or a learned mapping lower it.
        training: options of the networks.
        steps: whole steps to compare at.
        seeds: number of networks.
        tolerance: error, relative to the signal, up to which the theory is said to hold.
        width: "auto" finds the width that theory needs for the tolerance from a few small ones, and trains that; None
            takes the config's.
        controls: also run controls, which say what a gap is due to.
        keep: folder of checkpoints, in which each run keeps its own.
        progress: reporter.

    Raises:
        ValueError: if something does not fit, before any work; the message says what to try.
    """
    check_positive("tolerance", tolerance, "such as 0.05, relative to the signal")
    keep.require_usable(below=True)
    loss: Loss = "mean" if training.loss == "mean" else "sum"
    if width is not None:
        _require_law(training, loss)
    if training.output == "sigmoid" and min(task.train_values.min(), task.test_values.min(initial=0)) < 0:
        task = task.raised(0.5, "Values raised by 0.5 to [0, 1], where a sigmoid's are.")
    momentum, has_theory = momentum_of(training), training.optimizer.has_theory
    of_theory = config if has_theory else replace(config, learning_rate=None)
    by_scale = problems(task, of_theory, loss, momentum)
    task = noted(task, by_scale)
    planned = plan(
        next(iter(by_scale.values())),
        steps,
        training=training,
        learning_rate=None if has_theory else config.learning_rate,
        seeds=seeds,
        # A width that a law asks for is checked on networks that the law has not seen.
        seed=config.seed + (width is not None),
        controls=controls,
    )
    # The kernel, and with it the best scale, are those of infinite width.
    scale, _ = best(predictions(by_scale, steps, of=momentum, progress=progress))
    chosen, law = by_scale[scale], None
    if config.learning_rate is None:
        chosen = steady(chosen, planned)
    if width is not None:
        law = width_law(
            chosen.kernel, chosen.K.points, task.train_values, steps=steps, learning_rate=chosen.learning_rate,
            loss=loss, accuracy=tolerance, K=chosen.K, seed=config.seed, check=False, dtype=training.dtype,
            checkpoint=keep.within("widths"), progress=progress,
        )  # fmt: skip
        # The comparison that follows trains that width, and so checks the law.
        found = width_to_train(law, WIDEST) or int(law.width.max())
        chosen = replace(chosen, kernel=at_width(chosen.kernel, found))
    checked = check(
        "signal", task.name, chosen, planned, tolerance=tolerance, controls=controls, keep=keep, progress=progress
    )
    if law is not None:
        is_asked = checked.validation.attrs["width"] == width_to_train(law, WIDEST)
        law = checked_by(law, checked.validation) if is_asked else not_checked(law, WIDEST)
    return Validated(task, scale, checked, law)


def _require_law(training: Training, loss: Loss) -> None:
    """Refuse what the law of the width says nothing about."""
    others = training.unlike(Training(loss=loss, dtype=training.dtype))
    if others:
        options = {one.field: str(one.mine) if one.field == "optimizer" else one.mine for one in others}
        raise Refused(
            "{width} asks theory, which here is of full-batch gradient descent on squares of a linear output from "
            f"zero, and {', '.join(f'{{{name}}}' for name in options)} is not that; give a number",
            width="auto",
            **options,
        )

"""A prediction and the training it is checked by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import xarray as xr

from ntkspec import dynamics
from ntkspec.checks import Refused
from ntkspec.dynamics._ensemble import bytes_of_ensemble
from ntkspec.limits import refuse_if_too_large
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.study._problem import Problem
from ntkspec.study._theory import held_out_points, predicted, predicted_occupancy, with_quality
from ntkspec.trainer import NO_KEEP, Keep, Plan, Training, run, stability_limit
from ntkspec.trainer import plan as trainer_plan
from ntkspec.trainer._rate import rounded_down
from ntkspec.validation import explain, validate

__all__ = ["TRAINED_STEPS", "Check", "check", "momentum_of", "plan", "steady"]

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
        notices: what was cut from the whole signal, one sentence each.
    """

    key: str
    name: str
    problem: Problem
    prediction: xr.Dataset
    training: xr.Dataset
    validation: xr.Dataset
    causes: xr.Dataset | None = None
    notices: tuple[str, ...] = ()

    @property
    def held_out(self) -> xr.Dataset | None:
        """Quality at the held-out points: `test_psnr` (step) predicted, `trained_psnr` (seed, step) of the networks.

        Scattered points also have the functions, in the names that `ntkspec.plot.points` takes: predicted is `unseen`,
        trained on average `trained`. None where no points are held out.
        """
        p, r = self.prediction, self.training
        if "test_psnr" not in p:
            return None
        held_out = xr.Dataset({"test_psnr": p.test_psnr, "trained_psnr": r.test_psnr})
        if "unseen" not in p:
            return held_out
        trained = r.unseen.mean("seed").assign_attrs(long_name="mean of the trained networks at unseen points")
        return held_out.merge(p[["unseen", "unseen_x", "unseen_target"]].assign(trained=trained))


def plan(
    one: Problem,
    steps: Sequence[int],
    *,
    training: Training = Training(),  # noqa: B008  # it is frozen
    learning_rate: float | None = None,
    seeds: int = 4,
    seed: int = 0,
    controls: bool = False,
) -> Plan:
    """Plan the training that a problem's prediction is checked by, and refuse what does not compare, before any work.

    Args:
        one: problem; its network needs a width.
        steps: whole training steps to compare at.
        training: options of the networks.
        learning_rate: η of an optimizer without a theory; None takes its usual one. Others train at the problem's.
        seeds: number of networks.
        seed: number of the first network.
        controls: whether controls are to follow; see `check`.

    Raises:
        ValueError: if something does not fit; the message says what to try.
    """
    if refusal := next(_refusals(steps, training, seeds, controls), None):
        raise refusal
    if not training.centered:
        n = one.K.num_points
        refuse_if_too_large(
            bytes_of_ensemble(n, n, n, len(steps)),
            f"the covariance of networks that are not centred at {n:,} training points and {len(steps)} steps",
            "take a smaller size or length, or centred networks",
        )
    return trainer_plan(
        one.kernel,
        one.K.points,
        one.task.train_values,
        steps=steps,
        training=training,
        learning_rate=one.learning_rate if training.optimizer.has_theory else learning_rate,
        seeds=seeds,
        seed=seed,
        field_shape=one.task.shape,
        unseen=held_out_points(one.task),
    )


def steady(one: Problem, planned: Plan) -> Problem:
    """Return the problem at a learning rate at which its networks are stable, too.

    Batches and a learned mapping have a lower limit than theory, which has neither: half of that is taken if the
    problem's own learning rate is above it. An optimizer without a theory keeps its own rate.
    """
    training = planned.training
    lowered = training.batch_size is not None or bool(training.trainable)
    if not lowered or not training.optimizer.has_theory:
        return one
    limit = stability_limit(replace(planned, kernels=(one.kernel,)))
    return replace(one, learning_rate=min(one.learning_rate, rounded_down(limit / 2)))


def _refusals(steps: Sequence[int], training: Training, seeds: int, controls: bool) -> Iterator[Refused]:
    """Yield why a training does not compare with a prediction; networks that are not centred need a covariance."""
    centered, logistic, sigmoid = training.centered, training.loss == "logistic", training.output == "sigmoid"
    if logistic and not sigmoid:
        yield Refused(
            "{loss} trains a logit, which does not compare with labels; take {output} with it, which is compared with "
            "the labels in [0, 1]",
            loss="logistic",
            output="sigmoid",
        )
    if logistic and (controls or training.schedule != "constant"):
        what = "controls (explain) start from a" if controls else "a schedule is known to a"
        yield Refused(f"{what} prediction of squares, and the loss is logistic; take loss=sum or mean, or leave it")
    if steps[-1] < 1:
        yield Refused(f"steps={list(steps)} has none after the start, and so nothing to compare; add one")
    if 0 not in steps and (sigmoid or (controls and not centered)):
        what = (
            "where a sigmoid is compared with the function it starts from"
            if sigmoid
            else "from where controls (explain) compare each network of {centered} with theory"
        )
        yield Refused(f"steps={list(steps)} leaves out 0, {what}; begin with 0", centered=False)
    if sigmoid and not centered:
        yield Refused(
            "{centered} compares the spread of networks with their covariance in theory, which is of a linear output, "
            "and output=sigmoid; take {output}, or leave {centered} out",
            centered=False,
            output="linear",
        )
    if seeds < 3 and not centered:
        yield Refused(
            f"seeds={seeds} with {{centered}}; expected at least 3, for fewer networks do not tell their spread",
            centered=False,
        )


def check(
    key: str,
    name: str,
    one: Problem,
    planned: Plan,
    *,
    tolerance: float = 0.05,
    controls: bool = False,
    keep: Keep = NO_KEEP,
    progress: Progress = NO_PROGRESS,
) -> Check:
    """Predict a problem, train it from the same start, and compare.

    Theory covers gradient descent, also with a schedule, momentum without one, and the logistic loss of a sigmoid
    output as a flow. A sigmoid output with a loss of squares is compared with a linear one that starts from its ½; an
    optimizer without a theory with gradient descent at the problem's own learning rate. Networks that are not centred
    are compared as an ensemble: their mean with the prediction, their spread with its covariance.

    Args:
        key: short name for files and groups.
        name: name of the signal, in words.
        one: problem.
        planned: training, from `plan` of this problem or of one at another scale.
        tolerance: error, relative to the signal, up to which the theory is said to hold.
        controls: also run controls, which say what a gap is due to; see `ntkspec.validation.explain`.
        keep: folder of checkpoints, in which each run keeps its own.
        progress: reporter.

    Returns:
        Prediction, training and comparison, all with the learned function on the whole lattice.

    Raises:
        ValueError: if a checkpoint is of another run.
    """
    rates = (one.learning_rate,) if planned.training.optimizer.has_theory else planned.rates
    planned = replace(planned, kernels=(one.kernel,), rates=rates)
    p = _prediction(one, planned, progress)
    ensemble = None if planned.training.centered else _ensemble(one, planned, progress)
    r = run(planned, keep.within("networks"), progress=progress)
    causes = None
    if controls:
        schedule = _schedule(planned)
        causes = explain(
            planned,
            p,
            r,
            K=one.K,
            options={} if schedule is None else {"schedule": schedule},
            checkpoint=None if keep.folder is None else keep.within("controls"),
            progress=progress,
        )
    v = validate(p, r, tolerance=tolerance, ensemble=ensemble, causes=causes)
    return Check(key, name, one, p, with_quality(r, one.task), v, causes)


def _schedule(planned: Plan) -> dynamics.Schedule | None:
    if planned.training.schedule == "constant":
        return None
    return dynamics.Schedule(planned.factors, planned.starts)


def _prediction(one: Problem, planned: Plan, progress: Progress) -> xr.Dataset:
    """Return the prediction that is nearest to this training."""
    steps = planned.steps.tolist()
    if planned.training.loss == "logistic":
        return predicted_occupancy(one, steps, progress=progress)
    # A centred sigmoid starts at ½ everywhere.
    start = 0.5 if planned.training.output == "sigmoid" else None
    return predicted(one, steps, initial=start, of=_filters(planned), progress=progress)


def _ensemble(one: Problem, planned: Plan, progress: Progress) -> xr.Dataset:
    """Infinitely wide networks, each from its own start: their mean and covariance at the training points."""
    return dynamics.ensemble(
        one.kernel,
        one.K.points,
        one.task.train_values,
        one.K.points,
        steps=planned.steps.tolist(),
        learning_rate=one.learning_rate,
        loss=one.loss,
        dynamics=_filters(planned),
        progress=progress,
    )


def _filters(planned: Plan) -> dynamics.Dynamics | None:
    """Return what the optimizer does to a mode; None is gradient descent, also in place of what has no theory."""
    return momentum_of(planned.training) or _schedule(planned)


def momentum_of(training: Training) -> dynamics.Dynamics | None:
    """Return the dynamics of an optimizer whose momentum has a theory; the flow of the logistic loss has none."""
    optimizer = training.optimizer
    if optimizer.name not in ("heavy_ball", "nesterov") or training.loss == "logistic":
        return None
    found: dynamics.Dynamics = getattr(dynamics, optimizer.name)(optimizer.momentum)
    return found

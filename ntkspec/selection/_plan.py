"""Training of a chosen kernel, and what to expect of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics import heavy_ball, max_learning_rate
from ntkspec.operator import Operator
from ntkspec.selection._samples import Box, Samples
from ntkspec.selection._score import TIMES, Score, score
from ntkspec.selection._search import Candidate, quality
from ntkspec.selection._width import WidthLaw, law_of, width_for

__all__ = ["MOMENTUM", "Plan", "plan"]

#: Loss in dB that is as good as the best: later steps are not worth their time.
GOOD_ENOUGH = 0.1
#: Standard deviation assumed for the expected PSNR about that of infinitely wide networks, in dB;
#: `python -m benchmarks.regret` measures how far it is off.
MODEL_ERROR = 1.0
#: Momentum of the heavy ball that reaches the same in fewer steps.
MOMENTUM = 0.9


@dataclass(frozen=True)
class Plan:
    """Training of a kernel by gradient descent on half the summed squares.

    Attributes:
        candidate: kernel to train.
        K: its operator on all training points.
        criterion: criterion that chooses the number of steps.
        accuracy: error relative to the signal to which a network of `width` should follow.
        peak: largest value of the signal, which PSNR is relative to.
        learning_rate: half the stability limit.
        step: steps at which PSNR is predicted, shape (t,); rounded, so that early ones may be the same.
        psnr: PSNR expected between the training points, in dB, shape (t,).
        low: lower end of its interval, or that of leave-one-out where it is less.
        high: upper end.
        best: index of the step to stop at.
        late: whether that is the last one, so that longer training might still help.
        psnr_of_mean: PSNR of predicting the mean of the labels everywhere.
        law: width law.
    """

    candidate: Candidate
    K: Operator
    criterion: str
    accuracy: float
    peak: float
    learning_rate: float
    step: np.ndarray
    psnr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    best: int
    late: bool
    psnr_of_mean: float
    law: WidthLaw

    @property
    def steps(self) -> int:
        """Number of steps to stop after."""
        return int(self.step[self.best])

    @property
    def steps_with_momentum(self) -> int:
        """Number of steps of the heavy ball at the same learning rate that lead as far, where that is fewer."""
        pace = heavy_ball(MOMENTUM).acceleration
        # Modes that oscillate fall as √β each step: by 20/(1 − β) steps they have decayed.
        return min(self.steps, math.ceil(self.steps / pace + 20 * pace))

    @property
    def width(self) -> tuple[int, int]:
        """The width at which a network should follow to `accuracy`, and that at which 19 of 20 should.

        In the standard parametrisation kernel and learning rate are those of one width.
        """
        own = self.candidate.network.width
        if self.candidate.network.parametrization == "standard" and own is not None:
            return own, own
        return width_for(self.accuracy, self.law)


def plan(samples: Samples, box: Box, chosen: Candidate, criterion: str, accuracy: float, peak: float) -> Plan:
    """Plan the training of a candidate; see `Plan` for the arguments.

    Args:
        samples: all training points.
        box: points it is judged on.
        chosen: the candidate.
        criterion: criterion that says when to stop.
        accuracy: error relative to the signal to which a finite network should follow.
        peak: largest value of the signal.
    """
    k = chosen.kernel(samples.dim)
    K, judged = samples.operator(k), score(k, box)
    learning_rate = max_learning_rate(K) / 2
    best = _when_to_stop(judged, criterion)
    shift = 20 * math.log10(peak)
    psnr, nearest = (quality(name, getattr(judged, name)) + shift for name in ("expected", "leave_one_out"))
    sampling = 10 / math.log(10) * judged.expected_error / judged.expected
    error = np.hypot(sampling, MODEL_ERROR)
    return Plan(
        candidate=chosen,
        K=K,
        criterion=criterion,
        accuracy=accuracy,
        peak=peak,
        learning_rate=learning_rate,
        step=np.maximum(np.rint(judged.flow_time / learning_rate), 1),
        psnr=psnr,
        low=np.minimum(psnr - 2 * error, nearest - 2 * sampling),
        high=psnr + 2 * error,
        best=best,
        late=best == len(TIMES) - 1,
        psnr_of_mean=float(quality("expected", np.var(samples.labels, axis=0).mean())) + shift,
        law=law_of(samples.dim),
    )


def _when_to_stop(judged: Score, criterion: str) -> int:
    """Return the first time that is as good as the best.

    With noisy labels leave-one-out shows when to stop; the error between the points assumes clean ones. The evidence
    does not depend on time, being that of the process before training.
    """
    name = "leave_one_out" if criterion == "evidence" else criterion
    by = quality(name, getattr(judged, name))
    return int(np.argmax(by >= np.nanmax(by) - GOOD_ENOUGH))

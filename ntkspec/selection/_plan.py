"""Training of a chosen kernel, what to expect of it, and the width at which a network follows, by measured laws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ntkspec.checks import check_positive
from ntkspec.dynamics import heavy_ball, max_learning_rate
from ntkspec.operator import Operator
from ntkspec.selection._samples import Box, Samples
from ntkspec.selection._score import TIMES, score
from ntkspec.selection._search import Candidate, quality

__all__ = ["MEASURED", "MOMENTUM", "Plan", "WidthLaw", "law_of", "plan", "width_for"]

#: Loss in dB that is as good as the best: later steps are not worth their time.
GOOD_ENOUGH = 0.1
#: Standard deviation assumed for the expected PSNR about that of infinitely wide networks, in dB;
#: `python -m benchmarks.regret` measures how far it is off.
MODEL_ERROR = 1.0
#: Momentum of the heavy ball that reaches the same in fewer steps.
MOMENTUM = 0.9


@dataclass(frozen=True)
class WidthLaw:
    """error = constant · width^−exponent: the distance of one network to theory, relative to the signal.

    Attributes:
        constant, exponent: of the law.
        residual: standard deviation of ln(error) of a single network about the law.
        latest: steps at η = 1/λ_max up to which it was measured; the error is that of the worst step.
        widths: least and largest width measured.
        source: signal and program of the measurement.
        network: depth and activation of the networks measured.
    """

    constant: float
    exponent: float
    residual: float
    latest: float
    widths: tuple[int, int]
    source: str
    network: tuple[int, str] = (3, "relu")

    def error(self, width: float) -> float:
        """Return the error expected at a width."""
        return float(self.constant * width**-self.exponent)

    def width(self, error: float) -> float:
        """Return the width at which an error is expected."""
        return float((self.constant / error) ** (1 / self.exponent))


#: By the number of coordinates, fitted by `python -m benchmarks.width_law`: three hidden ReLU layers.
MEASURED = {
    1: WidthLaw(1.04, 0.487, 0.201, 300.0, (64, 4096), "the paper's 1-D signal, 64 points (benchmarks/width_law.py)"),
    2: WidthLaw(0.985, 0.392, 0.099, 300.0, (64, 4096), "a photograph of 32² points (benchmarks/width_law.py)"),
}


def law_of(dim: int) -> WidthLaw:
    """Return the law measured for the nearest number of coordinates."""
    return MEASURED[min(dim, max(MEASURED))]


def width_for(accuracy: float, law: WidthLaw) -> tuple[int, int]:
    """Return the width at which a network should stay within `accuracy` of theory, and that at which 19 of 20 should.

    Args:
        accuracy: error relative to the signal.
        law: measured law.

    Returns:
        Both, rounded up to a multiple of 16.

    Raises:
        ValueError: if the accuracy is not positive.

    Example:
        >>> law = WidthLaw(1.0, 0.5, 0.1, 300.0, (64, 1024), "an example")
        >>> width_for(0.05, law)
        (400, 608)
    """
    check_positive("accuracy", accuracy, "an error relative to the signal, such as 0.1")

    def rounded(width: float) -> int:
        return int(16 * np.ceil(max(width, 1) / 16))

    return rounded(law.width(accuracy)), rounded(law.width(accuracy * np.exp(-2 * law.residual)))


@dataclass(frozen=True)
class Plan:
    """Training of a kernel by gradient descent on half the summed squares.

    Attributes:
        candidate, K: kernel to train, and its operator on all training points. criterion, accuracy, peak: as
        `ntkspec.design` was asked. learning_rate: half the stability limit. step: steps at which PSNR is predicted,
        shape (t,); rounded, so that early ones may be the same. psnr: PSNR expected between the training points, in dB,
        shape (t,). low, high: ends of its interval; the lower one is that of leave-one-out where it is less. best:
        index of the step to stop at. late: whether that is the last one, so that longer training might still help.
        psnr_of_mean: PSNR of predicting the mean of the labels everywhere. law: width law.
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
    """Plan the training of a candidate on all samples, judged on a box of them; see `Plan` for the others."""
    k = chosen.kernel(samples.dim)
    K, judged = samples.operator(k), score(k, box)
    learning_rate = max_learning_rate(K) / 2
    # With noisy labels leave-one-out shows when to stop; the error between the points assumes clean ones. The evidence
    # does not depend on time, being that of the process before training.
    stop = "leave_one_out" if criterion == "evidence" else criterion
    by = quality(stop, getattr(judged, stop))
    best = int(np.argmax(by >= np.nanmax(by) - GOOD_ENOUGH))
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

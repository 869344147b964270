"""A signal behind a mapping and a network: the kernel on its training points, and a learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from ntkspec import dynamics, mapping, operator
from ntkspec.config import StudyConfig
from ntkspec.dynamics import Loss
from ntkspec.kernel import ComposedKernel, compose
from ntkspec.selection import FAMILIES
from ntkspec.task import Scattered, Task

__all__ = ["Problem", "default_scales", "problem", "problems"]

#: Shares of the highest frequency that the training points can tell, tried as scales by default.
SHARES = (1 / 32, 1 / 8, 1 / 3)


@dataclass(frozen=True)
class Problem:
    """A signal, and the kernel that is to learn it.

    Attributes:
        task: the signal.
        kernel: mapping and network.
        K: the kernel on the training points.
        learning_rate: that theory is asked at, of the loss.
        loss: half the sum of squares, or their mean.
    """

    task: Task | Scattered
    kernel: ComposedKernel
    K: operator.Operator
    learning_rate: float
    loss: Loss = "sum"


def default_scales(task: Task | Scattered) -> tuple[float, ...]:
    """Three Gaussian scales, in cycles per unit, that suit the spacing of a task's training points."""
    per_axis = len(task.train_points) ** (1 / task.dim)
    return tuple(float(f"{share * per_axis / 2:.2g}") for share in SHARES)


def problem(
    task: Task | Scattered,
    mapped: mapping.Mapping,
    config: StudyConfig,
    loss: Loss = "sum",
    of: dynamics.Dynamics | None = None,
) -> Problem:
    """Put a task behind a mapping, with the configured learning rate or half gradient descent's stability limit.

    Raises:
        ValueError: if the learning rate is past the stability limit of the dynamics, gradient descent where None.
    """
    kernel = compose(mapped, config.network.build())
    if isinstance(task, Task):
        K: operator.Operator = operator.lattice(kernel, task.shape, mask=task.train_mask)
    else:
        K = operator.choose(kernel, task.train_points).build()
    rate = config.learning_rate
    if rate is None:
        return Problem(task, kernel, K, dynamics.max_learning_rate(K, loss) / 2, loss)
    limit = dynamics.max_learning_rate(K, loss, dynamics=of)
    if rate >= limit:
        under = "" if of is None else f" under {type(of).__name__}"
        raise ValueError(
            f"learning_rate={rate:g} is past the stability limit of this kernel{under}, {limit:.6g}; take less"
        )
    return Problem(task, kernel, K, rate, loss)


def problems(
    task: Task | Scattered, config: StudyConfig, loss: Loss = "sum", of: dynamics.Dynamics | None = None
) -> dict[float, Problem]:
    """Return the task behind a Gaussian mapping of each scale, increasing; rates of the mean are larger by the points.

    A given learning rate must be stable for `of`, gradient descent where None.

    Raises:
        ValueError: if a scale is not positive, or the learning rate is past a stability limit.
    """

    def gaussian(scale: float) -> mapping.Mapping:
        return FAMILIES["gaussian"].build(task.dim, config.num_frequencies, scale, config.seed)

    scales = config.scales or default_scales(task)
    return {scale: problem(task, gaussian(scale), config, loss, of) for scale in sorted(set(scales))}

"""A signal behind a mapping and a network: the kernel on its training points, and a learning rate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ntkspec import dynamics, mapping, operator
from ntkspec.config import StudyConfig
from ntkspec.dynamics import Loss
from ntkspec.kernel import ComposedKernel, compose
from ntkspec.operator._norm import is_diagonal
from ntkspec.selection import FAMILIES, Family, with_options
from ntkspec.selection._prose import DIAGONAL
from ntkspec.task import Scattered, Task

__all__ = ["Problem", "default_scales", "noted", "problem", "problems", "settled"]


@dataclass(frozen=True)
class Problem:
    """A signal, and the kernel that is to learn it.

    Attributes:
        task: the signal.
        kernel: mapping and network.
        K: the kernel on the training points.
        learning_rate: that theory is asked at, of the loss.
        loss: half the sum of squares, or their mean.
        label: its mapping in words, such as "scale 4".
        number: name and unit of what is compared side by side, as an axis has them.
        notice: what makes it useless; "" where nothing does.
    """

    task: Task | Scattered
    kernel: ComposedKernel
    K: operator.Operator
    learning_rate: float
    loss: Loss = "sum"
    label: str = ""
    number: dict[str, str] = field(default_factory=dict)
    notice: str = ""


def default_scales(task: Task | Scattered) -> tuple[float, ...]:
    """Three Gaussian scales, in cycles per unit, that suit the spacing of a task's training points."""
    return tuple(FAMILIES["gaussian"].default(_highest(task)))


def _highest(task: Task | Scattered) -> float:
    """Highest frequency that the training points can tell, cycles per unit."""
    return float(len(task.train_points) ** (1 / task.dim) / 2)


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
    if isinstance(task, Task) and kernel.stationary:
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
    """Return the task behind the configured mapping at each of its numbers, such as scales; that of none is under 1.

    Rates of the mean are larger by the points.

    A given learning rate must be stable for `of`, gradient descent where None.

    Raises:
        ValueError: if the mapping does not take an option, a number is not positive, or the learning rate is past a
            stability limit.
    """
    config, kind = settled(config)
    found = {}
    for value in kind.given or kind.default(_highest(task)):
        mapped = kind.build(task.dim, config.num_frequencies, value, config.seed)
        one = problem(task, mapped, config, loss, of)
        label = kind.label(value)
        notice = f"{label}: {DIAGONAL}" if is_diagonal(one.K) else ""
        number = {"long_name": kind.parameter or "mapping", "units": kind.units}
        found[float(value)] = replace(one, label=label, number=number, notice=notice)
    return found


def noted(task: Task | Scattered, by_scale: dict[float, Problem]) -> Task | Scattered:
    """Return the task with what its problems are useless for among its notices."""
    return replace(task, notices=(*task.notices, *(one.notice for one in by_scale.values() if one.notice)))


def settled(config: StudyConfig) -> tuple[StudyConfig, Family]:
    """Return the settings with what they leave open, and the family of their mapping."""
    (kind,) = with_options([config.mapping], config.options.given(config.scales, config.num_frequencies))
    return replace(config, network=config.network.settled(kind.activation)), kind

"""How networks are trained, as one plain record.

It is the notebook's argument, a sweep's cell, the options of the command line and what a result remembers. It imports
no numerics with itself, so that ``ntkspec --help`` answers at once. An option is named, documented, defaulted and
checked here alone. Objects are brought to one form: an optimizer to an `Optimizer`, a schedule that lists its changes
to pairs of step and factor, the logistic loss to its name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ntkspec.training._optimizer import Optimizer
from ntkspec.training._unlike import Difference, unlike_prediction

__all__ = ["Training", "are_factors", "custom_of"]

#: Changes of a schedule up to which it is a list of numbers.
LISTED = 4096

Output = Literal["linear", "sigmoid"]
Loss = Literal["sum", "mean", "logistic"]
Initialisation = Literal["network", "glorot", "siren"]
Learnable = Literal["amplitudes", "frequencies"]
Precision = Literal["float32", "float64"]
ProductPrecision = Literal["float32", "bfloat16"]


if TYPE_CHECKING:
    Optimizing: TypeAlias = Any
    Scheduling: TypeAlias = Any
else:
    # What the command line takes; Python takes objects, too.
    Optimizing, Scheduling = str, Literal["constant", "cosine"]


@dataclass(frozen=True)
class Training:
    """How finite networks are trained.

    Example:
        >>> training = Training(optimizer="adam(b1=0.8)", batch_size=32)
        >>> Training.from_json(training.to_json()) == training
        True
        >>> [tuple(map(str, difference)) for difference in training.unlike(Training(batch_size=32))]
        [('optimizer', 'adam(b1=0.8)', 'gradient_descent')]
    """

    optimizer: Optimizing = "gradient_descent"
    """Optimizer: gradient_descent, heavy_ball, nesterov or any of optax, such as adam; settings as in
    'heavy_ball(momentum=0.5)'. One without a theory is compared with gradient descent all the same, and takes its own
    usual learning rate if none is given."""
    loss: Loss = "sum"
    """Half the sum of squares, half their mean, or the logistic loss, of an output that is a sigmoid."""
    point_loss: Callable[[Any, Any], Any] | None = None
    """Loss ℓ(f, y) of one value and its label, elementwise in JAX, in place of ½ (f − y)²."""
    output: Output = "linear"
    """Output of the network. With the logistic loss theory has the sigmoid; with squares the prediction is of a linear
    output."""
    init: Initialisation = "network"
    """Initial weights: as the kernel has them, or as JAX's stax or SIREN draw them (with --parametrization standard);
    the prediction stays that of the kernel."""
    centered: bool = True
    """Train f − f_0, which starts from zero as the prediction does; otherwise each network starts from a random
    function of its own, and their mean is compared with the prediction, their spread with the predicted covariance."""
    trainable: tuple[Learnable, ...] = ()
    """Parts of the mapping that are learned along with the network; the prediction is of a fixed mapping."""
    batch_size: int | None = None
    """Points in a step, drawn anew each time; by default all, as in the prediction."""
    gradient_clip: float | None = None
    """Largest norm of a step's gradient, over all parameters of a network; a longer one is shortened to it. By default
    none is, as in the prediction."""
    schedule: Scheduling = "constant"
    """Schedule of the learning rate: constant, or down to zero at the last step along half a cosine, in the prediction
    too."""
    dtype: Precision = "float32"
    """Precision of training; the prediction is always in float64."""
    matmul_precision: ProductPrecision = "float32"
    """Precision of the operands of matrix products in float32 training."""

    def __post_init__(self) -> None:
        """Bring objects to one form, and refuse what no run can have."""
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        self._set("optimizer", Optimizer.of(self.optimizer))
        self._set("trainable", _fields_of_mapping(self.trainable))
        self._set("schedule", _schedule(self.schedule, self.optimizer))
        if self.point_loss is not None:
            self._check_point_loss()
        if self.centered not in (True, False):
            raise TypeError(f"centered={self.centered!r}; expected True or False")
        self._set("centered", bool(self.centered))
        if self.batch_size is not None:
            _checks().check_sizes(batch_size=self.batch_size)
        if self.gradient_clip is not None:
            _checks().check_positive("gradient_clip", self.gradient_clip, "such as 1.0, or None")
        if self.matmul_precision == "bfloat16" and self.dtype == "float64":
            raise _checks().Refused(
                "{matmul_precision} is for {dtype}; float64 is asked for to lose no digits",
                matmul_precision="bfloat16",
                dtype="float32",
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_point_loss(self) -> None:
        expected = "a function of a value and its label, such as ns.dynamics.huber(0.1)"
        _checks().check_function("point_loss", self.point_loss, expected)
        if self.loss == "logistic":
            raise ValueError("loss='logistic' is a point_loss already; with one of your own take loss='sum' or 'mean'")
        if self.of_logits and self.loss == "sum":
            self._set("loss", "logistic")
            self._set("point_loss", None)

    @property
    def of_logits(self) -> bool:
        """Whether the loss is one of the network's output, sigmoid or not."""
        if self.point_loss is None:
            return self.loss == "logistic"
        from ntkspec.losses import logistic

        return self.point_loss is logistic

    @property
    def of_squares(self) -> bool:
        """Whether the loss is one of squares."""
        return self.loss != "logistic" and self.point_loss is None

    def to_json(self) -> str:
        """All options as text; a function or an optax object as its name alone."""
        described: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        optimizer = self.optimizer
        plain = optimizer.takes_rate and all(_is_plain(value) for _, value in optimizer.settings)
        settings = {"name": optimizer.name, "settings": dict(optimizer.settings)}
        described["optimizer"] = settings if plain else _custom(optimizer)
        for name in ("point_loss", "schedule"):
            if not _is_plain(described[name]):
                described[name] = _custom(described[name])
        return json.dumps(described, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, **objects: Any) -> Training:
        """Return the training that `to_json` described.

        Args:
            text: from `to_json`.
            **objects: options that text cannot hold, by name.

        Raises:
            ValueError: if one is missing; the message names it.
        """
        described = json.loads(text)
        for name in custom_of(described):
            if name not in objects:
                what = f"{name} ({described[name]['custom']})"
                raise _checks().Refused(f"text cannot hold the run's {what}; give {{{name}}}", **{name: ...})
        if "optimizer" not in objects:
            settings = {key: _hashable(value) for key, value in described["optimizer"]["settings"].items()}
            described["optimizer"] = Optimizer.named(described["optimizer"]["name"], settings)
        return cls(**{**described, **objects})

    def unlike(self, other: Training | Any) -> list[Difference]:
        """Return the options in which another training differs, or what theory does otherwise than this training.

        Args:
            other: training, or a Dataset from `ntkspec.predict` or `ntkspec.dynamics.function_space_flow`.

        Returns:
            The differences, in the order of the fields. Of a prediction, precision and centring are none.
        """
        if isinstance(other, Training):
            pairs = ((each.name, getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
            return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
        found = unlike_prediction(self, other)
        order = [each.name for each in fields(self)]
        return sorted(found, key=lambda one: order.index(one.field) if one.field in order else -1)

    def factors(self, last: int) -> tuple[list[float], list[int]]:
        """Factors of the learning rate and the first step of each, for a schedule that is no function.

        Args:
            last: last step of the run, where a cosine ends.
        """
        if self.schedule == "constant" or (self.schedule == "cosine" and last < 1):
            return [1.0], [0]
        if self.schedule == "cosine":
            from ntkspec.limits import refuse_if_too_large

            refuse_if_too_large(
                64 * last, f"a schedule with a factor for each of {last:,} steps", "ask for fewer steps"
            )
            return [*(_cosine(step, last) for step in range(last)), 0.0], list(range(last + 1))
        if isinstance(self.schedule, tuple):
            return [factor for _, factor in self.schedule], [step for step, _ in self.schedule]
        return list(self.schedule.factors), list(self.schedule.starts)


_CHOICES = {
    "loss": get_args(Loss),
    "output": get_args(Output),
    "init": get_args(Initialisation),
    "dtype": get_args(Precision),
    "matmul_precision": get_args(ProductPrecision),
}


def _checks() -> Any:
    """Return the checks; they import JAX, for which a help text has no time."""
    from ntkspec import checks

    return checks


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    # Numpy's dtypes are equal to their names, and do not go into a file.
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
        raise ValueError(f"{name}={_checks().shown(value)}; expected {expected}")


def _fields_of_mapping(trainable: Any) -> tuple[str, ...]:
    if isinstance(trainable, str):
        raise ValueError(f"trainable={trainable!r}; expected a tuple of names: trainable=({trainable!r},)")
    if not isinstance(trainable, list | tuple | set) or not all(isinstance(name, str) for name in trainable):
        raise TypeError(
            f"trainable={_checks().shown(trainable)}; expected a tuple of names such as ('amplitudes',), or ()"
        )
    if unknown := sorted(set(trainable) - set(get_args(Learnable))):
        raise ValueError(
            f"trainable={trainable!r} has {unknown}; expected of {get_args(Learnable)}, or () for a fixed mapping"
        )
    return tuple(sorted(trainable))


def _schedule(schedule: Any, optimizer: Optimizer) -> Any:
    """Return a name, pairs of step and factor, or a function of the step.

    An object where its pairs would be too many.
    """
    if schedule is None or (isinstance(schedule, str) and schedule == "constant"):
        return "constant"
    if not optimizer.takes_rate:
        raise ValueError(f"the optimizer ({optimizer}) was built with its own learning rate; give it the schedule")
    if isinstance(schedule, str):
        _check_choice("schedule", schedule, ("constant", "cosine"))
        return schedule
    if isinstance(schedule, list | tuple) or (hasattr(schedule, "factors") and hasattr(schedule, "starts")):
        return _listed(schedule)
    if not callable(schedule):
        raise TypeError(
            f"schedule is a {type(schedule).__name__}; expected one from ns.dynamics (schedule, piecewise, cosine) or "
            "a function of the step"
        )
    return schedule


def _listed(schedule: Any) -> Any:
    import numpy as np

    try:
        pairs = schedule if isinstance(schedule, list | tuple) else None
        starts = np.asarray([step for step, _ in pairs] if pairs else schedule.starts)
        factors = np.asarray([factor for _, factor in pairs] if pairs else schedule.factors, dtype=float)
        alike = factors.ndim == 1 and factors.shape == starts.shape and starts.dtype.kind in "iu"
    except (AttributeError, TypeError, ValueError):
        alike = False
    if not alike or not are_factors(factors) or starts[0] != 0 or (np.diff(starts) <= 0).any():
        raise ValueError(
            f"schedule is a {type(schedule).__name__} whose factors are not numbers from 0 on, or whose starts are not "
            "as many increasing steps from 0; expected one from ns.dynamics (schedule, piecewise, cosine)"
        )
    if len(factors) > LISTED:
        return schedule
    pairs = tuple(zip(starts.tolist(), factors.tolist(), strict=True))
    return "constant" if {factor for _, factor in pairs} == {1.0} else pairs


def are_factors(values: Any) -> bool:
    """Whether an array may multiply a learning rate."""
    import numpy as np

    return bool(np.isfinite(values).all() and (values >= 0).all() and values.any())


def _cosine(step: int, last: int) -> float:
    """Half a cosine down, as `ntkspec.dynamics.cosine` has it."""
    return (1 + math.cos(math.pi * step / last)) / 2


def _is_plain(value: Any) -> bool:
    """Whether JSON holds all of it."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def custom_of(described: Mapping[str, Any]) -> list[str]:
    """Names of the options of which a description holds no more than a name."""
    return [name for name, value in described.items() if isinstance(value, dict) and "custom" in value]


def _custom(value: Any) -> dict[str, str]:
    if isinstance(value, Optimizer):
        return {"custom": str(value)}
    return {"custom": getattr(value, "__qualname__", type(value).__qualname__)}

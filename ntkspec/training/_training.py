"""How networks are trained, as one plain record.

It is the notebook's argument, a sweep's cell, the options of the command line and what a result remembers. It imports
no numerics with itself, so that ``ntkspec --help`` answers at once. An option is named, documented, defaulted and
checked here alone. Objects are brought to one form: an optimizer to an `Optimizer`, a schedule that lists its changes
to pairs of step and factor, the logistic loss to its name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ntkspec.training._optimizer import Optimizer
from ntkspec.training._unlike import Difference, unlike_prediction

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
        if refusal := next(self._refusals(), None):
            raise refusal
        self._set("optimizer", Optimizer.of(self.optimizer))
        self._set("trainable", tuple(sorted(self.trainable)))
        self._set("schedule", _schedule(self.schedule, self.optimizer))
        self._set("centered", bool(self.centered))
        if self.of_logits and self.loss == "sum":
            self._set("loss", "logistic")
            self._set("point_loss", None)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _refusals(self) -> Iterator[Exception]:
        """Yield what is wrong with an option or with two together; optimizers and schedules speak for themselves."""
        for name, (kind, allows, expected) in _RULES.items():
            if not allows(value := getattr(self, name)):
                yield kind(f"{name}={_shown(value)}; expected {expected}")
        if self.loss == "logistic" and self.point_loss is not None:
            yield ValueError(
                "loss='logistic' is a point_loss already; with one of your own take loss='sum' or loss='mean'"
            )
        if self.matmul_precision == "bfloat16" and self.dtype == "float64":
            from ntkspec.checks import Refused

            message = "{matmul_precision} is for {dtype}; float64 is asked for to lose no digits"
            yield Refused(message, matmul_precision="bfloat16", dtype="float32")

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
        """Return the training that `to_json` described; `objects` are options that text cannot hold, by name."""
        from ntkspec.checks import Refused

        described = json.loads(text)
        for name in custom_of(described):
            if name not in objects:
                what = f"{name} ({described[name]['custom']})"
                raise Refused(f"text cannot hold the run's {what}; give {{{name}}}", **{name: ...})
        if "optimizer" not in objects:
            settings = {key: _hashable(value) for key, value in described["optimizer"]["settings"].items()}
            described["optimizer"] = Optimizer.named(described["optimizer"]["name"], settings)
        return cls(**{**described, **objects})

    def unlike(self, other: Training | Any) -> list[Difference]:
        """Return the options in which another training differs, or a Dataset of `ntkspec.predict` and the like.

        They come in the order of the fields. From a prediction, precision and centring are no differences.
        """
        if isinstance(other, Training):
            pairs = ((each.name, getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
            return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
        found = unlike_prediction(self, other)
        order = [each.name for each in fields(self)]
        return sorted(found, key=lambda one: order.index(one.field) if one.field in order else -1)

    def factors(self, last: int) -> tuple[list[float], list[int]]:
        """Factors of the learning rate and the first step of each, up to a last step, of a schedule but a function."""
        if self.schedule == "constant" or (self.schedule == "cosine" and last < 1):
            return [1.0], [0]
        if self.schedule == "cosine":
            from ntkspec.limits import refuse_if_too_large

            refuse_if_too_large(64 * last, f"a schedule of {last:,} factors, one a step,", "ask for fewer steps")
            return [*(_cosine(step, last) for step in range(last)), 0.0], list(range(last + 1))
        if isinstance(self.schedule, tuple):
            return [factor for _, factor in self.schedule], [step for step, _ in self.schedule]
        return list(self.schedule.factors), list(self.schedule.starts)


#: Error, condition and expectation of an option.
_Rule: TypeAlias = tuple[type[Exception], Callable[[Any], bool], str]


def _one_of(names: Any) -> _Rule:
    *others, last = map(repr, get_args(names))
    # Numpy's dtypes are equal to their names, and do not go into a file.
    allows = lambda value: isinstance(value, str) and value in get_args(names)
    return ValueError, allows, f"{', '.join(others)} or {last}"


def _are_learnable(names: Any) -> bool:
    return isinstance(names, list | tuple | set) and all(name in get_args(Learnable) for name in names)


def _positive(kind: Any, expected: str) -> _Rule:
    def allows(value: Any) -> bool:
        return value is None or (isinstance(value, kind) and not isinstance(value, bool) and 0 < value < math.inf)

    return ValueError, allows, f"a positive {expected}, or None"


_RULES: dict[str, _Rule] = {
    "loss": _one_of(Loss),
    "output": _one_of(Output),
    "init": _one_of(Initialisation),
    "dtype": _one_of(Precision),
    "matmul_precision": _one_of(ProductPrecision),
    "point_loss": (
        TypeError,
        lambda value: value is None or callable(value),
        "a function of a value and its label, such as ns.dynamics.huber(0.1), or None",
    ),
    "centered": (TypeError, lambda value: value in (True, False), "True or False"),
    "trainable": (ValueError, _are_learnable, "a tuple of amplitudes and frequencies, such as ('amplitudes',), or ()"),
    "batch_size": _positive(Integral, "integer"),
    "gradient_clip": _positive(Real, "number such as 1.0"),
}


def _shown(value: Any) -> str:
    # It imports JAX, for which a help text has no time.
    from ntkspec.checks import shown

    return shown(value)


def _schedule(schedule: Any, optimizer: Optimizer) -> Any:
    """Return a name, pairs of step and factor, a function of the step, or an object whose pairs would be too many."""
    if schedule is None or (isinstance(schedule, str) and schedule == "constant"):
        return "constant"
    if not optimizer.takes_rate:
        raise ValueError(f"the optimizer ({optimizer}) was built with its own learning rate; give it the schedule")
    if isinstance(schedule, str):
        if schedule != "cosine":
            raise ValueError(f"schedule={schedule!r}; expected 'constant' or 'cosine'")
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

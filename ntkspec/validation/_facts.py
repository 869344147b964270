"""What a comparison shows, as records: decisions look at these, and `_prose` makes sentences of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ntkspec.trainer import Difference

#: Reasons to leave a cause out. The first three are controls that would have been of use, the others say that the cause
#: is absent, or that no control can tell.
Why = Literal[
    "cost",
    "diverged",
    "too_large",
    "absent",
    "predicted",
    "one_seed",
    "no_prediction",
    "other_limit",
    "slow_enough",
    "schedule",
    "float64",
    "no_float64",
    "large_error",
    "linear_network",
    "initialisation",
    "learned_mapping",
    "fixed_width",
]


class LeftOut(NamedTuple):
    """A cause ("width" for the law of the spread) without a control, with numbers and names for the reason."""

    cause: str
    why: Why
    detail: dict[str, Any]

    @property
    def missed(self) -> bool:
        """Whether the cause may matter all the same."""
        return self.why in ("cost", "diverged", "too_large")


class Peak(NamedTuple):
    """An error relative to the signal at a step, with its standard error (NaN: not known)."""

    step: int
    error: float
    standard_error: float = math.nan


class Spread(NamedTuple):
    """Ratio of the spread of networks to the predicted one at a step, with its 95 % interval.

    `of_mean` is the standard error of the mean of the networks, relative to the signal.
    """

    step: int
    ratio: float
    low: float
    high: float
    of_mean: float


@dataclass(frozen=True)
class Verdict:
    """How far a prediction holds.

    Attributes:
        width: units of a layer, of each of the `seeds` networks.
        tolerance: error up to which the theory holds.
        judged: "error" of a network, or "systematic_error" of the mean of an ensemble.
        last_step: last step compared.
        holds_until: last step before the error exceeds the tolerance; −1 if there is none.
        held: largest error up to there; `worst` is that of all steps, `last` that at the last one.
        open: upper end of the 95 % interval, where it exceeds the tolerance although the error does not; or None.
        learned: largest distance of the prediction from its start, relative to the signal.
        common: error that all seeds share, at the step where single networks are farthest; `spread` is theirs there.
        limit_share: learning rate over the stability limit of the prediction; NaN if not known.
        differences: settings that training and prediction do not share.
        spreads: last and worst spread over the predicted one; None without an ensemble, empty where none is known.
    """

    width: int
    seeds: int
    tolerance: float
    judged: Literal["error", "systematic_error"]
    last_step: int
    holds_until: int
    held: float
    worst: Peak
    last: Peak
    open: Peak | None
    learned: float
    common: float
    spread: float
    limit_share: float
    differences: tuple[Difference, ...]
    spreads: tuple[Spread, ...] | None

    @property
    def holds(self) -> bool:
        """Whether the theory holds at all steps."""
        return self.holds_until == self.last_step

    @property
    def idle(self) -> bool:
        """Whether agreement shows nothing, for the prediction hardly leaves its start."""
        return self.holds and self.learned <= self.tolerance

    def to_json(self) -> str:
        """Return the record as JSON, by field."""
        records = {name: _plain(value) for name, value in vars(self).items()}
        return json.dumps(records, ensure_ascii=False)


def as_json(records: Iterable[NamedTuple]) -> str:
    """Return records as a JSON list of objects; a number that is not known is null."""
    return json.dumps([_plain(record) for record in records], ensure_ascii=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

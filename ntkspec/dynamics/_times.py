"""What is asked of a dynamics: steps, learning rate and loss, checked and defaulted once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ntkspec.checks import check_steps
from ntkspec.dynamics._base import Dynamics, Loss, summed_rate
from ntkspec.dynamics._descent import GradientDescent
from ntkspec.record import attributes, step_coordinate, variable

__all__ = ["Times"]


@dataclass(frozen=True)
class Times:
    """Increasing steps t of training n points under a dynamics, at the η of a loss; make one with `Times.of`.

    The filters take eigenvalues λ of any shape S, and answer with shape (*S, t).
    """

    num_points: int
    steps: np.ndarray
    learning_rate: float
    loss: Loss
    dynamics: Dynamics

    @classmethod
    def of(
        cls,
        num_points: int,
        steps: Sequence[float],
        learning_rate: float,
        loss: Loss = "sum",
        dynamics: Dynamics | None = None,
    ) -> Times:
        """Check the steps, learning rate and loss of a caller; the dynamics is gradient descent where None.

        Raises:
            ValueError: if steps are negative, do not increase or are half ones of a discrete dynamics, the learning
                rate is not positive, or the loss is not known.

        Example:
            >>> Times.of(10, [0, 1, 2], learning_rate=0.5, loss="mean").residual(np.array([4.0])).round(2).tolist()
            [[1.0, 0.8, 0.64]]
        """
        increasing = check_steps(steps)
        summed_rate(learning_rate, num_points, loss)
        dynamics = GradientDescent() if dynamics is None else dynamics
        if dynamics.discrete and (increasing != np.rint(increasing)).any():
            raise ValueError(f"steps={increasing.tolist()}; expected whole numbers for {type(dynamics).__name__}")
        return cls(num_points, increasing, learning_rate, loss, dynamics)

    @property
    def rate(self) -> float:
        """η of the summed loss."""
        return self.learning_rate if self.loss == "sum" else self.learning_rate / self.num_points

    @property
    def filters(self) -> Dynamics:
        """The dynamics in units of this learning rate."""
        return self.dynamics.at(self.rate)

    def at(self, steps: np.ndarray) -> Times:
        """Return the same at other steps."""
        return replace(self, steps=steps)

    def each(self) -> Iterator[Times]:
        """Iterate over the steps, one at a time."""
        return (self.at(self.steps[i : i + 1]) for i in range(len(self.steps)))

    def residual(self, eigenvalue: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s t"]:
        """r(λ, t), the part of a mode that is still to be learned."""
        return self.filters.residual(self.rate * eigenvalue[..., None], self.steps)

    def weights(self, eigenvalue: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s t"]:
        """(1 − r)/λ, with its limit at λ = 0."""
        return self.rate * self.filters.weights(self.rate * eigenvalue[..., None], self.steps)

    def learned(self, eigenvalue: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s t"]:
        """1 − r, without a difference."""
        return eigenvalue[..., None] * self.weights(eigenvalue)

    def sensitivity(self, largest_eigenvalue: float) -> Float[np.ndarray, " t"]:
        """Return a bound on ‖r(A, t) − r(B, t)‖/‖A − B‖ for matrices of norm up to λ_max, shape (t,)."""
        return self.rate * self.filters.sensitivity(self.rate * largest_eigenvalue, self.steps)

    def stability_limit(self, largest_eigenvalue: float) -> float:
        """Return the learning rate of the loss above which training diverges."""
        return self.dynamics.stability_limit(largest_eigenvalue) / (1.0 if self.loss == "sum" else 1 / self.num_points)

    def require_stable(self, largest_eigenvalue: float) -> None:
        """Refuse a learning rate past the stability limit for λ_max; the message gives the limit for the loss."""
        limit = self.stability_limit(largest_eigenvalue)
        # The eigenvalue is known to rounding, and the limit itself is asked for often.
        if self.learning_rate > limit * (1 + 1e-9):
            name, loss = type(self.dynamics).__name__, f"loss={self.loss!r}"
            what = f"learning_rate={self.learning_rate:.6g} is {self.learning_rate / limit:.4g} times its stability"
            see = f"see ns.dynamics.max_learning_rate(K, {loss}), which also takes dynamics=..."
            raise ValueError(
                f"{what} limit under {name}, so training diverges; the limit for {loss} is {limit:.6g}: {see}"
            )

    def coordinate(self) -> tuple:
        """Return the coordinate `step` of a Dataset."""
        return step_coordinate(self.steps)

    def coordinates(self, points: Any, unseen: Any = None) -> dict[str, tuple]:
        """Return `step`, the points' coordinates `x` and, where there are unseen points, `unseen_x`."""
        x = {"x": variable(("point", "axis"), np.asarray(points), "coordinate", "unit")}
        if unseen is not None:
            x["unseen_x"] = variable(("asked", "axis"), np.asarray(unseen), "coordinate of an unseen point", "unit")
        return {"step": self.coordinate(), **x}

    def attributes(self, **objects: Any) -> dict[str, Any]:
        """Return what describes objects in a Dataset (`record.attributes`), with the learning rate and the loss."""
        return {**attributes(**objects), "learning_rate": self.learning_rate, "loss": self.loss}

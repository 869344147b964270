"""The Jacobian of a network of Dense layers, without the Jacobian."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array
from numpy.typing import ArrayLike

__all__ = ["Factor", "Layered", "factors_of"]


class Factor(NamedTuple):
    """One Dense layer's part of the Jacobian: ∂f_c(x_i)/∂(its parameters) = inputs_i ⊗ signals_ic.

    Its part of the empirical kernel of outputs c and c' is therefore (inputs_i · inputs_j)(signals_ic · signals_jc').

    Attributes:
        inputs: what the layer's parameters are multiplied by, shape (n, fan_in), biases and scales included.
        signals: ∂f_c/∂(the layer's outputs), shape (n, outputs, fan_out).
    """

    inputs: Array
    signals: Array


@runtime_checkable
class Layered(Protocol):
    """A network that may know its Jacobian as factors."""

    def factors(self, params: Any, x: ArrayLike) -> list[Factor] | None:
        """One for each layer with trained parameters; None where they are not known."""
        ...


def factors_of(network: Any, params: Any, x: ArrayLike) -> list[Factor] | None:
    """The factors of a network's Jacobian at inputs (n, p); None where it does not know them."""
    return network.factors(params, x) if isinstance(network, Layered) else None

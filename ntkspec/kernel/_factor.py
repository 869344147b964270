"""The Jacobian of a network of Dense layers, without the Jacobian."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array
from numpy.typing import ArrayLike

__all__ = ["Factor", "Layered", "is_layered"]


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

    @property
    def layered(self) -> bool:
        """Whether it does; only then `factors` answers."""
        ...

    def factors(self, params: Any, x: ArrayLike) -> list[Factor]:
        """One for each layer with trained parameters, at inputs (n, p)."""
        ...


def is_layered(network: Any) -> bool:
    """Whether a network knows its Jacobian as factors."""
    return isinstance(network, Layered) and network.layered

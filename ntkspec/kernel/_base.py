"""What a network answers: mappings, operators and the trainer need to know no more of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.kernel._gram import Which
from ntkspec.mapping import Versines
from ntkspec.module import Module
from ntkspec.progress import NO_PROGRESS, Progress


class Kernels(NamedTuple):
    """Both kernels of a network for pairs of inputs."""

    nngp: Array
    ntk: Array


@runtime_checkable
class Network(Protocol):
    """An infinite-width kernel and the finite network it belongs to; a pytree, numbers as leaves."""

    @property
    def width(self) -> int | None:
        """Units of its (narrowest) hidden layer; None where there is no finite network."""

    @property
    def isotropic(self) -> bool:
        """Whether the kernels depend on |x|, |z| and the angle between them alone; only then `kernels` answers."""

    def ntk(self, x: ArrayLike, z: ArrayLike | None = None) -> Array:
        """Return the NTK of inputs, (n, ...) and (k, ...) -> (n, k); None means x, and an exactly symmetric matrix."""

    def nngp(self, x: ArrayLike, z: ArrayLike | None = None) -> Array:
        """Return the kernel of the Gaussian process at initialisation; as `ntk`."""

    def gram(self, x: ArrayLike, z: ArrayLike | None, which: Which, progress: Progress) -> Array:
        """`ntk` or `nngp` by name, reporting progress."""

    def kernels(self, q_x: Array, q_z: Array, versine: Array | Versines, fan_in: int) -> Kernels:
        """Both kernels from the inputs' mean squares |x|²/p and versines 1 − ρ, alone or with 1 + ρ, broadcast."""

    def init(self, key: Array, dim: int, outputs: int = ...) -> Any:
        """Random parameters of the finite network on `dim` inputs."""

    def apply(self, params: Any, x: ArrayLike) -> Array:
        """Return the finite network's outputs, (n, p) -> (n, outputs), in the parameters' precision."""

    def require_derivative(self) -> None:
        """Refuse an NTK that does not exist, by a ValueError that says why."""


class WithGram(Module):
    """Both kernels of inputs, by one method."""

    def ntk(self, x: ArrayLike, z: ArrayLike | None = None) -> Float[Array, "n k"]:
        """Return the neural tangent kernel of inputs.

        Args:
            x: raw coordinates behind a mapping or inputs of a network alone, shape (n, d), or (n, h, w, c) and the like
                for convolutions.
            z: the same, shape (k, ...); None means `x`.

        Returns:
            Θ(x_i, z_j), shape (n, k); exactly symmetric where z is None.
        """
        return self.gram(x, z, "ntk")

    def nngp(self, x: ArrayLike, z: ArrayLike | None = None) -> Float[Array, "n k"]:
        """Return the kernel of the Gaussian process at initialisation; arguments and shape as `ntk`."""
        return self.gram(x, z, "nngp")

    @abstractmethod
    def gram(
        self, x: ArrayLike, z: ArrayLike | None = None, which: Which = "ntk", progress: Progress = NO_PROGRESS
    ) -> Array:
        """`ntk` or `nngp` by name, with a progress reporter for large matrices."""


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

    def factors(self, params: Any, x: ArrayLike) -> list[Factor]:
        """One for each layer with trained parameters, at inputs (n, p)."""


def is_layered(network: Any) -> bool:
    """Whether a network knows its Jacobian as factors."""
    return isinstance(network, Layered) and network.layered

"""What is asked of a network, so that mappings, operators and the trainer need to know no more of it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jax import Array
from numpy.typing import ArrayLike

from ntkspec.kernel._gram import Which
from ntkspec.kernel._network import Kernels
from ntkspec.progress import Progress

__all__ = ["Network"]


@runtime_checkable
class Network(Protocol):
    """An infinite-width kernel and the finite network it belongs to; a pytree, numbers as leaves."""

    @property
    def width(self) -> int | None:
        """Units of its (narrowest) hidden layer; None where there is no finite network."""
        ...

    @property
    def isotropic(self) -> bool:
        """Whether the kernels depend on |x|, |z| and the angle between them alone; only then `kernels` answers."""
        ...

    def ntk(self, x: ArrayLike, z: ArrayLike | None = None) -> Array:
        """Return the NTK of inputs, (n, ...) and (k, ...) -> (n, k); None means x, and an exactly symmetric matrix."""
        ...

    def nngp(self, x: ArrayLike, z: ArrayLike | None = None) -> Array:
        """Return the kernel of the Gaussian process at initialisation; as `ntk`."""
        ...

    def gram(self, x: ArrayLike, z: ArrayLike | None, which: Which, progress: Progress) -> Array:
        """`ntk` or `nngp` by name, reporting progress."""
        ...

    def kernels(self, q_x: Array, q_z: Array, versine: Array, fan_in: int) -> Kernels:
        """Both kernels from the inputs' mean squares |x|²/p and versines, broadcast."""
        ...

    def init(self, key: Array, dim: int, outputs: int = ...) -> Any:
        """Random parameters of the finite network on `dim` inputs."""
        ...

    def apply(self, params: Any, x: ArrayLike) -> Array:
        """Return the finite network's outputs, (n, p) -> (n, outputs), in the parameters' precision."""
        ...

    def require_derivative(self) -> None:
        """Refuse an NTK that does not exist, by a ValueError that says why."""
        ...

"""A network linearised at its initialisation, whose kernel does not move although its width is finite."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.kernel._base import Factor, Kernels, Layered, Network, WithGram, is_layered
from ntkspec.kernel._composed import ComposedKernel, compose
from ntkspec.kernel._gram import Which
from ntkspec.mapping import Versines
from ntkspec.progress import NO_PROGRESS, Progress


class Linearised(WithGram):
    """f(θ₀) + J(θ₀)(θ − θ₀) for a network f; build one with `linearised`.

    Its parameters are {"start": θ₀, "shift": θ − θ₀}; only the shift has a gradient.

    Attributes:
        network: f.
    """

    network: Network

    @property
    def width(self) -> int | None:
        return self.network.width

    @property
    def isotropic(self) -> bool:
        return self.network.isotropic

    def gram(
        self, x: ArrayLike, z: ArrayLike | None = None, which: Which = "ntk", progress: Progress = NO_PROGRESS
    ) -> Array:
        return self.network.gram(x, z, which, progress)

    def kernels(self, q_x: Array, q_z: Array, versine: Array | Versines, fan_in: int) -> Kernels:
        return self.network.kernels(q_x, q_z, versine, fan_in)

    def init(self, key: Array, dim: int, outputs: int | None = None) -> dict[str, Any]:
        """θ₀ as the network draws it from the same key, and a shift of zero: {"start": θ₀, "shift": zeros}."""
        start = self.network.init(key, dim, *(() if outputs is None else (outputs,)))
        return {"start": start, "shift": jax.tree.map(jnp.zeros_like, start)}

    def apply(self, params: dict[str, Any], x: ArrayLike) -> Float[Array, "n outputs"]:
        """f(θ₀) + J(θ₀) shift at inputs x (n, p): outputs (n, outputs)."""
        start = jax.lax.stop_gradient(params["start"])
        value, change = jax.jvp(lambda theta: self.network.apply(theta, x), (start,), (params["shift"],))
        return value + change

    @property
    def layered(self) -> bool:
        return is_layered(self.network)

    def factors(self, params: dict[str, Any], x: ArrayLike) -> list[Factor]:
        """Return the network's own at θ₀, wherever the shift has gone."""
        return cast(Layered, self.network).factors(params["start"], x)

    def require_derivative(self) -> None:
        self.network.require_derivative()

    def require_composable(self) -> None:
        """Refuse a mapping in front of a network that cannot have one."""
        if hasattr(self.network, "require_composable"):
            self.network.require_composable()


N = TypeVar("N", ComposedKernel, Network)


def linearised(k: N) -> N:
    """Return the network of first order in its parameters around their initialisation, f(θ₀) + J(θ₀)(θ − θ₀).

    Trained like any other, from the same θ₀ for the same key, it has a finite width and a kernel that does not move:
    under gradient descent of rate η its residual is (1 − ηK)^t times that at the start, K = J Jᵀ. Where the network
    differs from it, its kernel has moved; where both differ from theory, their width is finite.

    Args:
        k: a network, alone or behind a mapping.

    Returns:
        The same kernels and the linearised finite network, behind the same mapping.

    Raises:
        TypeError: if it is no network.

    Source: Lee et al. 2019, "Wide neural networks of any depth evolve as linear models under gradient descent",
    equation 4.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> options = dict(steps=[0, 20], learning_rate=0.05, seeds=1)
        >>> y = np.sin(2 * np.pi * x[:, 0])
        >>> line, network = (ns.trainer.train(each, x, y, **options) for each in (ns.kernel.linearised(k), k))
        >>> bool(0 < abs(line.train - network.train).max() < 0.5)
        True
    """
    if isinstance(k, ComposedKernel):
        return compose(k.mapping, linearised(k.network))
    if not isinstance(k, Network):
        raise TypeError(f"`linearised` got a {type(k).__name__}; expected a network, or one behind a mapping")
    return Linearised(k)

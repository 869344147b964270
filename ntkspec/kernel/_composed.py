"""A network behind a mapping: its kernels on raw coordinates and, where stationary, as functions of the lag."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.checks import check_choice, check_points
from ntkspec.kernel._base import Kernels, Network, WithGram
from ntkspec.kernel._gram import Which, gram, resolve_coincident, tile_of_vectors, unit_vectors
from ntkspec.kernel._overflow import is_false, overflow
from ntkspec.mapping import Mapping, StationaryMapping, Versines
from ntkspec.progress import NO_PROGRESS, Progress


class ComposedKernel(WithGram):
    """network ∘ γ, a pytree in the mapping's and the network's parameters.

    Attributes:
        mapping: γ.
        network: the network behind it.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=2), ns.kernel.MLP(depth=2))
        >>> k.ntk([[0.0, 0.0], [0.5, 0.5]]).shape
        (2, 2)
        >>> abs(k.ntk_lag([0.5, 0.5]) - k.ntk([[0.0, 0.0]], [[0.5, 0.5]])[0, 0]) < 1e-15
        Array(True, dtype=bool)
    """

    mapping: Mapping
    network: Network

    @property
    def dim(self) -> int:
        """Number of raw coordinates d."""
        return self.mapping.dim

    @property
    def stationary(self) -> bool:
        """Whether the kernel is a function of the lag alone; only then are there lag functions and lattices."""
        return self.mapping.stationary and self.network.isotropic

    @property
    def periodic(self) -> bool:
        """Whether the kernel has period 1 on every axis; False where that cannot be known, as in a trace."""
        return self.stationary and self._stationary_mapping().periodic

    def gram(
        self, x: ArrayLike, z: ArrayLike | None = None, which: Which = "ntk", progress: Progress = NO_PROGRESS
    ) -> Array:
        x = check_points(x, self.dim)
        z = None if z is None else check_points(z, self.dim)
        which = self._exists(which)
        if not self.stationary:
            return self.network.gram(self.mapping(x), None if z is None else self.mapping(z), which, progress)
        matrix, finite = gram(self, x, z, which, progress)
        return self._checked(matrix, finite)

    def rows(self, x: Array) -> tuple[Array, Array | None]:
        """Return what `tile` needs of points (n, d): for a stationary kernel they and their unit features, if any."""
        if not self.stationary:
            return unit_vectors(self.mapping(x))
        mapping = self._stationary_mapping()
        return x, mapping(x) / jnp.sqrt(mapping.norm_squared) if mapping.finite else None

    def tile(self, x: tuple[Array, Array | None], z: tuple[Array, Array | None], same: Array, which: Which) -> Array:
        """Return a kernel of all pairs of two `rows`, (n, k); `same` (n, k) is True where a pair is one point twice."""
        if not self.stationary:
            return tile_of_vectors(self.network, x, z, same, which)  # type: ignore[arg-type]  # no part is missing
        mapping = self._stationary_mapping()
        (points_x, unit_x), (points_z, unit_z) = x, z
        if unit_x is None or unit_z is None:
            versines = mapping.versines(points_x[:, None] - points_z)
        else:
            versines = resolve_coincident(
                1 - unit_x @ unit_z.T, lambda i, j: mapping.versines(points_x[i] - points_z[j]), same
            )
        return getattr(_of_versines(self, versines), which)

    def ntk_lag(self, delta: ArrayLike) -> Float[Array, ...]:
        """Return the NTK as a function of the lag, Θ(Δ): (..., d) -> (...)."""
        return self._of_lag(self._stationary_mapping().versines(delta), self._exists("ntk"))

    def nngp_lag(self, delta: ArrayLike) -> Float[Array, ...]:
        """Return the NNGP kernel as a function of the lag: (..., d) -> (...)."""
        return self._of_lag(self._stationary_mapping().versines(delta), "nngp")

    def lag_grid(self, lags: tuple[ArrayLike, ...], which: Which = "ntk") -> Float[Array, ...]:
        """Return a kernel on the grid of d one-dimensional arrays of lags, by matrix products; an axis for each."""
        which = self._exists(which)
        return self._of_lag(self._stationary_mapping().versines_grid(lags), which)

    def init(self, key: Array, outputs: int | None = None) -> Any:
        """Random parameters of the finite network behind the mapping; see `MLP.init` and `StaxNetwork.init`.

        Args:
            key: a JAX random key.
            outputs: number of outputs; None takes the network's own, 1 for an `MLP`.

        Returns:
            Parameters as the network keeps them.
        """
        if not self.mapping.finite:
            limit = "the mapping has infinitely many frequencies: there is a kernel behind it and no finite network"
            raise ValueError(f"{limit}; take a sampled mapping such as ns.mapping.gaussian(...)")
        return self.network.init(key, self.mapping.num_features, *(() if outputs is None else (outputs,)))

    def apply(self, params: Any, x: ArrayLike) -> Float[Array, "n outputs"]:
        """Return the finite network on raw coordinates x (n, d): outputs (n, outputs)."""
        return self.network.apply(params, self.mapping(x))

    def _of_lag(self, versines: Versines, which: Which) -> Array:
        values = getattr(_of_versines(self, versines), which)
        return self._checked(values, _all_finite(values))

    def _checked(self, values: Array, finite: Array) -> Array:
        """`values`, unless they are known not to be finite."""
        if is_false(finite):
            mapping = self._stationary_mapping()
            raise overflow(self.network, mapping.norm_squared / mapping.num_features)
        return values

    def _exists(self, which: Which) -> Which:
        """`which`, if it names a kernel that the network has."""
        check_which(which)
        if which == "ntk":
            self.network.require_derivative()
        return which

    def _stationary_mapping(self) -> StationaryMapping:
        if self.stationary:
            return cast(StationaryMapping, self.mapping)
        raise ValueError(
            "this kernel has no mapping, or one beside raw coordinates, so it is not a function of the lag; put a "
            "Fourier mapping alone in front (for example ns.mapping.basic(dim)), or use operator.dense"
            if self.network.isotropic
            else "the network's kernel is not known as a function of norms and angles, so not of the lag either; give "
            "from_stax the kernel_fn of stax itself, not wrapped by nt.batch or the like, or use operator.dense"
        )


def compose(mapping: Mapping, network: Network) -> ComposedKernel:
    """Return the kernel and the finite network of `network` behind `mapping`.

    Args:
        mapping: γ, from `ntkspec.mapping`.
        network: an `MLP`, a neural-tangents network by `from_stax`, or whatever answers `ntkspec.kernel.Network`.

    Returns:
        One object for both.

    Raises:
        TypeError: if the arguments are swapped or of another kind.
        ValueError: if a neural-tangents network takes no feature vectors, or its last layer is not linear.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> k.dim, k.stationary
        (1, True)
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(f"`mapping` is a {type(mapping).__name__}; expected one from ntkspec.mapping, then a network")
    if not isinstance(network, Network):
        triple = isinstance(network, tuple | list)
        hint = "ns.kernel.from_stax(*network)" if triple else "ns.kernel.MLP(...) or ns.kernel.from_stax(...)"
        raise TypeError(f"`network` is a {type(network).__name__}; expected a network: build one with {hint}")
    # A network that takes other inputs than vectors says so itself.
    if hasattr(network, "require_composable"):
        network.require_composable()
    return ComposedKernel(mapping, network)


def check_composed(k: object) -> None:
    """Refuse what is no kernel of raw coordinates, such as a network alone."""
    if not isinstance(k, ComposedKernel):
        expected = "a network behind a mapping: ns.kernel.compose(ns.mapping.identity(d), network), or another mapping"
        raise TypeError(f"the kernel is a {type(k).__name__}; expected {expected}")


def check_which(which: str) -> str:
    """`which`, if it names a kernel."""
    check_choice("which", which, "ntk", "nngp")
    return which


@jax.jit
def _all_finite(values: Array) -> Array:
    return jnp.isfinite(values).all()


@jax.jit
def _of_versines(kernel: ComposedKernel, versines: Versines) -> Kernels:
    mapping = kernel._stationary_mapping()
    q = mapping.norm_squared / mapping.num_features
    return kernel.network.kernels(q, q, versines, mapping.num_features)

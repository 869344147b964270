"""A network's kernel as a function of one scalar, and its eigenvalues on the circle and on spheres."""

from __future__ import annotations

from math import comb

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import gammaln

from ntkspec.checks import check_choice, check_positive, check_sizes
from ntkspec.kernel._base import Network
from ntkspec.kernel._overflow import is_false, overflow
from ntkspec.mapping import Versines
from ntkspec.module import Module


class Zonal(Module):
    """h(ρ): the kernel between inputs of one norm whose cosine is ρ; build one with `zonal`.

    Attributes:
        network: the network.
        norm: |x| of every input.
        dim: number of input coordinates d; the inputs are on the sphere S^(d−1).
        which: "ntk" or "nngp".
    """

    network: Network
    norm: float | Array
    dim: int = eqx.field(static=True)
    which: str = eqx.field(static=True)

    def __call__(self, rho: ArrayLike | float) -> Float[Array, ...]:
        """h(ρ), shape as `rho`; near ρ = ±1 `of_versine` keeps more digits."""
        rho = jnp.asarray(rho, dtype=float)
        return self.of_versine(Versines(1 - rho, 1 + rho))

    def of_versine(self, versine: ArrayLike | float | Versines) -> Array:
        """h(1 − v), shape as `versine`; near v = 2 a `Versines` of both ends keeps more digits."""
        q = jnp.asarray(self.norm**2 / self.dim, dtype=float)
        values = getattr(self.network.kernels(q, q, Versines.of(versine), self.dim), self.which)
        if is_false(jnp.isfinite(values).all()):
            raise overflow(self.network, q)
        return values

    def derivative(self, rho: ArrayLike | float) -> Float[Array, ...]:
        """dh/dρ, shape as `rho`; a kernel with a cusp at ρ = 1 has an infinite slope there, given as a finite one."""
        rho = jnp.asarray(rho, dtype=float)
        return jax.vmap(jax.grad(self.__call__))(rho.ravel()).reshape(rho.shape)

    def spectrum(self, num_degrees: int, *, num_nodes: int | None = None) -> xr.Dataset:
        """Eigenvalues of the kernel under the uniform measure on the sphere, degree by degree (Funk–Hecke).

        λ_k = |S^(d−2)|/|S^(d−1)| ∫_0^π h(cos θ) P_k(cos θ) sin^(d−2) θ dθ, P_k the Gegenbauer polynomial with
        P_k(1) = 1 (cos kθ on the circle). In θ the integrand is smooth even for ReLU, so Gauss–Legendre converges fast.

        Args:
            num_degrees: degrees 0 … num_degrees − 1.
            num_nodes: of the rule; None takes num_degrees + 64.

        Returns:
            Dataset over `degree`: `eigenvalue`; `eigenvalue_error`, its change when the nodes are doubled;
            `multiplicity`, the number of spherical harmonics of that degree.

        Source: Bietti & Mairal 2019, "On the inductive bias of neural tangent kernels", section 3; Müller 1966.

        Example:
            >>> import ntkspec as ns
            >>> s = ns.kernel.zonal(ns.kernel.MLP(depth=1), dim=2).spectrum(200)
            >>> h = ns.kernel.zonal(ns.kernel.MLP(depth=1), dim=2)
            >>> float((s.eigenvalue * s.multiplicity).sum() / h(1.0)) > 0.99
            True
        """
        check_sizes(num_degrees=num_degrees)
        nodes = num_nodes or num_degrees + 64
        coarse, fine = (self._funk_hecke(num_degrees, count) for count in (nodes, 2 * nodes))
        degree = np.arange(num_degrees)
        return xr.Dataset(
            {
                "eigenvalue": ("degree", fine, {"long_name": "eigenvalue", "units": ""}),
                "eigenvalue_error": ("degree", np.abs(fine - coarse), {"long_name": "quadrature error", "units": ""}),
                "multiplicity": ("degree", [_harmonics(self.dim, int(k)) for k in degree]),
            },
            coords={"degree": ("degree", degree, {"long_name": "degree", "units": ""})},
        )

    def _funk_hecke(self, num_degrees: int, num_nodes: int) -> np.ndarray:
        node, weight = np.polynomial.legendre.leggauss(num_nodes)
        theta, weight = np.pi / 2 * (node + 1), np.pi / 2 * weight
        values = np.asarray(self.of_versine(Versines(*(jnp.asarray(2 * f(theta / 2) ** 2) for f in (np.sin, np.cos)))))
        area = np.exp(gammaln(self.dim / 2) - gammaln((self.dim - 1) / 2)) / np.sqrt(np.pi)
        measure = area * weight * np.sin(theta) ** (self.dim - 2) * values
        return _gegenbauer(np.cos(theta), num_degrees, self.dim) @ measure


def zonal(network: Network, dim: int, *, norm: float = 1.0, which: str = "ntk") -> Zonal:
    """Return the kernel of a network on a sphere of inputs, as a function of the cosine alone.

    Args:
        network: the network, without a mapping in front.
        dim: number of input coordinates d, at least 2; 2 is the circle.
        norm: |x| of the inputs. Behind a Fourier mapping of m frequencies with Σa² = 1 take dim = 2m, norm = 1.
        which: "ntk" or "nngp".

    Returns:
        A callable h(ρ) with `derivative` and `spectrum`.

    Raises:
        TypeError: if it is no network.
        ValueError: if the dimension is no integer of at least 2, the norm is not positive, `which` is neither, or there
            is no NTK.

    Example:
        >>> import ntkspec as ns
        >>> h = ns.kernel.zonal(ns.kernel.MLP(depth=1), dim=2)
        >>> h([1.0, 0.0, -1.0]).round(4).tolist()
        [2.0, 0.3183, 0.0]
    """
    if not isinstance(network, Network):
        got = f"`network` is a {type(network).__name__}"
        raise TypeError(f"{got}; expected a network alone, such as ns.kernel.MLP(depth=3), with no mapping in front")
    if not isinstance(dim, int | np.integer) or dim < 2:
        raise ValueError(f"dim={dim}; expected an integer of at least 2: on a line the only directions are ρ = ±1")
    check_positive("norm", norm, "the length of the inputs")
    check_choice("which", which, "ntk", "nngp")
    if which == "ntk":
        network.require_derivative()
    return Zonal(network, norm, dim, which)


def _gegenbauer(t: Float[np.ndarray, " nodes"], num_degrees: int, dim: int) -> Float[np.ndarray, "degrees nodes"]:
    """P_k(t) with P_k(1) = 1, shape (num_degrees, len(t)), by the three-term recurrence."""
    rows = [np.ones_like(t), t]
    for k in range(1, num_degrees - 1):
        rows.append(((2 * k + dim - 2) * t * rows[k] - k * rows[k - 1]) / (k + dim - 2))
    return np.stack(rows[:num_degrees])


def _harmonics(dim: int, degree: int) -> int:
    """How many spherical harmonics of a degree there are in d dimensions."""
    return comb(degree + dim - 1, dim - 1) - (comb(degree + dim - 3, dim - 1) if degree >= 2 else 0)

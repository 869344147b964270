"""The Jacobian of a finite network as rows, one a point, and their inner products.

A network of Dense layers has its rows as factors (`kernel.factor`): row i of a layer is inputs_i ⊗ signals_i, so that

    K_ij = Σ_layers (inputs_i · inputs_j) (signals_i · signals_j),

which takes n²W a layer where the Jacobian itself, n rows of W² entries, takes n²W². Of any other network such products
are looked for in its trace (`traced`), and the other rows are its gradients.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ntkspec.empirical._traced import factors_of
from ntkspec.kernel import Network
from ntkspec.kernel._base import Factor, Layered, is_layered
from ntkspec.kernel._gram import Which, computed_rows

#: Points whose gradients are computed side by side, so that their passes are products of matrices.
SIDE_BY_SIDE = 256


class Rows(eqx.Module):
    """Rows of a network's Jacobian; a `kernel.gram.Tiled`.

    Attributes:
        network: whose they are.
        params: θ.
        output: the one whose kernel it is; None for the mean over outputs.
    """

    network: Network
    params: Any
    output: int | None = eqx.field(static=True)

    @abstractmethod
    def rows(self, x: Array) -> list[Factor]:
        """Return the factors of the chosen outputs at inputs (n, p)."""

    def tile(
        self, x: list[Factor], z: list[Factor], same: Array | None = None, which: Which = "ntk"
    ) -> Float[Array, "n k"]:
        """Return the kernel of all pairs of two `rows`, (n, k)."""
        return _sum([_with(a, b, _mean(a.signals, b.signals)) for a, b in zip(x, z, strict=True)])

    def between(self, x: list[Factor], z: list[Factor]) -> Float[Array, "n k outputs outputs"]:
        """Return the kernel of all pairs of points and of outputs, (n, k, outputs, outputs)."""
        return _sum([_with(a, b, _each(a.signals, b.signals)) for a, b in zip(x, z, strict=True)])

    def diagonal(self, x: list[Factor]) -> Float[Array, " n"]:
        """Return the kernel of each point with itself, (n,)."""
        return _sum([jnp.sum(a.inputs**2, axis=1) * _squares(a.signals) for a in x])


class Layers(Rows):
    """Rows of a network of Dense layers, which has its factors."""

    def rows(self, x: Array) -> list[Factor]:
        found = cast(Layered, self.network).factors(self.params, x)
        return [Factor(inputs, _selected(signals, self.output)) for inputs, signals in found]


class Traced(Rows):
    """Rows of any network: factors where its trace shows a product with a parameter, gradients of the rest."""

    def rows(self, x: Array) -> list[Factor]:
        def outputs(params: Any, point: Array) -> Array:
            return _selected(self.network.apply(params, point[None]), self.output)[0]

        return jax.lax.map(
            lambda point: factors_of(outputs, self.params, point), x, batch_size=together(x, SIDE_BY_SIDE)
        )


def rows_of(network: Network, params: Any, output: int | None) -> Rows:
    """Return the rows of a network's Jacobian, as factors where it has them or its trace shows them."""
    return (Layers if is_layered(network) else Traced)(network, params, output)


def bytes_of_row(rows: Rows, features: Array) -> int:
    """Memory of the row of one point."""
    # Of a compiled function the shapes are kept: a call that has been made before traces nothing.
    shapes = computed_rows.eval_shape(rows, jax.ShapeDtypeStruct((1, *features.shape[1:]), features.dtype))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def together(x: Array, most: int) -> int | None:
    """How many inputs (n, …) a loop should take side by side; None one by one."""
    # Convolutions whose weights differ from input to input, as their gradients do, are grouped ones; within a loop XLA
    # has no quick way for these on a processor: 64 images of 8² took 7 s side by side, and 0.013 s one by one.
    images = x.ndim > 2 and jax.default_backend() == "cpu"
    return None if images else min(most, len(x))


def _selected(outputs: Array, output: int | None) -> Array:
    return outputs if output is None else outputs[:, output : output + 1]


def _with(a: Factor, b: Factor, signals: Array) -> Array:
    """Return the products of inputs (n, k) times those of signals, (n, k, …)."""
    inputs = a.inputs @ b.inputs.T
    return inputs.reshape(*inputs.shape, *[1] * (signals.ndim - 2)) * signals


def _mean(a: Float[Array, "n outputs p"], b: Float[Array, "k outputs p"]) -> Float[Array, "n k"]:
    """Inner products (n, k) of rows (n, outputs, p) and (k, outputs, p), the mean over outputs."""
    return jnp.einsum("icp,jcp->ij", a, b) / a.shape[1]


def _each(a: Float[Array, "n outputs p"], b: Float[Array, "k outputs p"]) -> Float[Array, "n k outputs outputs"]:
    """Inner products of each output with each, (n, k, outputs, outputs)."""
    return jnp.einsum("icp,jdp->ijcd", a, b)


def _squares(a: Float[Array, "n outputs p"]) -> Float[Array, " n"]:
    return jnp.sum(a**2, axis=(1, 2)) / a.shape[1]


def _sum(parts: list[Array]) -> Array:
    # A network may have no trained parameters at all in an array of no size.
    return sum(parts[1:], parts[0])

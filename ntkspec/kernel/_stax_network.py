"""Any network that neural-tangents' `stax` builds, behind the interface of `MLP`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec import limits
from ntkspec.kernel import stax
from ntkspec.kernel._base import Kernels, WithGram
from ntkspec.kernel._gram import Which
from ntkspec.kernel._stax_triple import POSITIONS, Triple, examine
from ntkspec.kernel.activation import safe_sqrt
from ntkspec.mapping import Versines
from ntkspec.progress import NO_PROGRESS, Progress


class StaxNetwork(WithGram):
    """A neural-tangents network as kernel and finite network; build one with `from_stax`.

    Its kernels have the digits that neural-tangents keeps: to 1e-12, and to 1e-7 where inputs nearly coincide.

    Attributes:
        triple: its three functions, which are static: they have no leaves, and a jitted function that takes the network
            is compiled for each triple anew.
        width: units of its narrowest hidden layer, 0 if there is none; None if there is no finite network.
        input_shape: of one input that it took, (p,) or (h, w, c); of other sizes it may take others.
        isotropic: whether it takes a `neural_tangents.Kernel`, so that `kernels` answers.
        linear_output: whether its last layer is linear, so that its outputs are Gaussian in the limit.
        ntk_problem: why it has no NTK; None if it has.
    """

    triple: Triple = eqx.field(static=True)
    width: int | None = eqx.field(static=True)
    input_shape: tuple[int, ...] = eqx.field(static=True)
    isotropic: bool = eqx.field(static=True)
    linear_output: bool = eqx.field(static=True)
    ntk_problem: str | None = eqx.field(static=True)

    def gram(
        self, x: ArrayLike, z: ArrayLike | None = None, which: Which = "ntk", progress: Progress = NO_PROGRESS
    ) -> Array:
        if which == "ntk":
            self.require_derivative()
        x = jnp.asarray(x, dtype=float)
        z = None if z is None else jnp.asarray(z, dtype=float)
        for name, inputs in (("x", x), ("z", z)):
            if inputs is not None and (inputs.ndim < 2 or inputs.shape[1:] != x.shape[1:]):
                expected = f"one input a row, such as {self._expected}, of one shape in x and z"
                raise ValueError(f"`{name}` has shape {inputs.shape}; expected {expected}")
        with progress.start("Gram matrix", 1, "matrix") as stage:
            # XLA may crash when it compiles a network of convolutions as one program (seen up to JAX 0.10).
            kernel = (_tiled if len(self.input_shape) == 1 else _in_tiles)(
                self, x, z, which, limits.current().covariances
            )
            stage.advance()
        return kernel if z is not None else _mirrored(kernel)

    def kernels(self, q_x: Array, q_z: Array, versine: Array | Versines, fan_in: int) -> Kernels:
        """Both kernels through a `neural_tangents.Kernel`; the NTK of a network without one is NaN.

        No inputs are formed, so there may be infinitely many features.
        """
        if not self.isotropic:
            wrapped = "kernel_fn takes inputs and no neural_tangents.Kernel, as where nt.batch or the like wraps it"
            raise ValueError(f"{wrapped}; give from_stax the kernel_fn of stax itself")

        # Pairs of single inputs: vectorize keeps what depends on x or z alone from being computed for every pair.
        @jnp.vectorize
        def pair(q_x: Array, q_z: Array, versine: Array) -> tuple[Array, Array]:
            # The root of a square is exact, so that a coincident pair has the covariance q to the last digit.
            covariance = safe_sqrt(q_x * q_z) * (1 - versine)
            k = self.triple.kernel_fn(kernel_of_pair(q_x, q_z, covariance, fan_in, self.ntk_problem is None))
            return k.nngp[0, 0], jnp.full_like(covariance, jnp.nan) if self.ntk_problem else k.ntk[0, 0]

        return Kernels(*pair(*(jnp.asarray(a, dtype=float) for a in (q_x, q_z, Versines.of(versine).near))))

    def init(self, key: Array, dim: int | tuple[int, ...], outputs: int | None = None) -> Any:
        """Draw parameters as stax keeps them.

        Args:
            key: a JAX random key.
            dim: number of input coordinates p, or the shape of one input, such as (h, w, c).
            outputs: number of outputs, which a stax network has fixed; None asks nothing.
        """
        self._require_finite()
        shape = (dim,) if np.ndim(dim) == 0 else tuple(dim)  # type: ignore[arg-type]  # a number, or a shape
        out_shape, params = self.triple.init_fn(key, (-1, *shape))
        if outputs not in (None, out_shape[-1]):
            got = f"outputs={outputs}, and this stax network ends in {out_shape[-1]}"
            raise ValueError(
                f"{got}; build its last layer as stax.Dense({outputs}), one for each channel of the labels"
            )
        return params

    def apply(self, params: Any, x: ArrayLike) -> Float[Array, "n outputs"]:
        self._require_finite()
        dtype = next((leaf.dtype for leaf in jax.tree.leaves(params)), jnp.result_type(float))
        if len(self.input_shape) > 1:
            # Convolutions of stax multiply by NumPy's float64 numbers, and the next one wants one dtype.
            params = jax.tree.map(lambda leaf: leaf.astype(float), params)
        x = jnp.asarray(x, dtype=dtype if len(self.input_shape) == 1 else float)
        return self.triple.apply_fn(params, x).astype(dtype)

    def require_derivative(self) -> None:
        if self.ntk_problem:
            nngp = "its NNGP kernel exists (`nngp`, `nngp_lag`, which='nngp')"
            raise ValueError(f"this network has no NTK: {self.ntk_problem}; {nngp}")

    def require_composable(self) -> None:
        """Refuse a mapping in front, whose features are vectors (n, p)."""
        if len(self.input_shape) != 1:
            inputs = f"this network takes inputs such as {self._expected} and a mapping gives features (n, p)"
            raise ValueError(f"{inputs}; use its `ntk` and `nngp` of raw inputs, or begin it with stax.Dense")
        if not self.linear_output:
            gaussian = "the network's last layer is not linear, so its outputs are not Gaussian at infinite width"
            raise ValueError(f"{gaussian}; end it with a layer such as stax.Dense(1)")

    @property
    def _expected(self) -> str:
        return f"(n, {', '.join(map(str, self.input_shape))})"

    def _require_finite(self) -> None:
        if self.width is None:
            raise ValueError("this network has a kernel and no finite network: a layer has no apply_fn")


def from_stax(
    init_fn: Callable, apply_fn: Callable, kernel_fn: Callable, *, input_shape: int | tuple[int, ...] | None = None
) -> StaxNetwork:
    """Return the network of a neural-tangents triple, with the interface of `MLP`.

    Convolutions take raw inputs (n, h, w, c); a network on vectors also goes behind a mapping:
    ``ns.kernel.compose(mapping, ns.kernel.from_stax(*stax.serial(...)))``. The functions are tried on the shapes of two
    inputs before they are accepted; nothing is computed.

    Args:
        init_fn: (key, input_shape) -> (output_shape, parameters).
        apply_fn: (parameters, x) -> outputs.
        kernel_fn: (x, z, get) -> the kernels named by `get`.
        input_shape: shape of one input, p or (h, w, c); None tries vectors, sequences, images and volumes. A network
            that takes one size only needs it.

    Returns:
        The network.

    Raises:
        TypeError: if a function is no function, does not take those arguments (swapped ones do not), or kernel_fn
            returns something without the field `nngp`.
        ValueError: if no input will do, or the outputs keep spatial positions.
        ImportError: if neural-tangents is not installed.

    Source: Novak et al. 2020, "Neural Tangents: fast and easy infinite neural networks in Python".

    Example:
        >>> import ntkspec as ns
        >>> stax = ns.kernel.stax.load().stax
        >>> net = ns.kernel.from_stax(*stax.serial(stax.Dense(64), stax.Relu(), stax.Dense(1)))
        >>> ns.kernel.compose(ns.mapping.basic(dim=2), net).ntk_lag([0.5, 0.0]).shape
        ()
    """
    stax.load()
    triple = Triple(init_fn, apply_fn, kernel_fn)
    fields = examine(triple, input_shape)
    shape = fields["input_shape"]
    return StaxNetwork(triple, isotropic=len(shape) == 1 and _takes_kernels(triple, shape[0]), **fields)


def kernel_of_pair(q_x: Array, q_z: Array, covariance: Array, fan_in: int, with_ntk: bool) -> Any:
    """Return what neural-tangents makes of one x and one z of p = `fan_in` coordinates."""
    shape = (1, fan_in)
    return stax.load().Kernel(
        nngp=covariance[None, None],
        ntk=jnp.zeros_like(covariance) if with_ntk else None,
        cov1=q_x[None],
        cov2=q_z[None],
        x1_is_x2=jnp.zeros((), dtype=bool),
        is_gaussian=False,
        is_reversed=False,
        is_input=False,
        diagonal_batch=True,
        diagonal_spatial=False,
        shape1=shape,
        shape2=shape,
        batch_axis=0,
        channel_axis=1,
    )


def _takes_kernels(triple: Triple, fan_in: int) -> bool:
    one = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        k = jax.eval_shape(lambda q, c: triple.kernel_fn(kernel_of_pair(q, q, c, fan_in, with_ntk=False)), one, one)
    # Somebody else's function may raise anything; it then takes inputs only.
    except Exception:
        return False
    return getattr(getattr(k, "nngp", None), "shape", None) == (1, 1)


def _in_tiles(network: StaxNetwork, x: Array, z: Array | None, which: str, entries: int) -> Array:
    """kernel_fn of all inputs at once, or tile by tile where its covariances between positions would be large."""
    rows, columns = x.shape[0], (x if z is None else z).shape[0]
    positions = _positions_per_pair(network.triple, x.shape[1:])
    if rows * columns * positions <= entries:
        return _tile(network.triple, x, z, which)
    width = max(1, min(columns, entries // positions))
    height = max(1, min(rows, entries // (positions * width)))
    x_tiles, z_tiles = _tiles(x, height), _tiles(x if z is None else z, width)
    tiles = jax.lax.map(lambda a: jax.lax.map(lambda b: _tile(network.triple, a, b, which), z_tiles), x_tiles)
    whole = jnp.swapaxes(tiles, 1, 2).reshape(x_tiles.shape[0] * height, z_tiles.shape[0] * width)
    return whole[:rows, :columns]


_tiled = jax.jit(_in_tiles, static_argnames=("which", "entries"))


def _tile(triple: Triple, x: Array, z: Array | None, which: str) -> Array:
    expected = (x.shape[0], (x if z is None else z).shape[0])
    try:
        kernel = getattr(triple.kernel_fn(x, z, (which,)), which)
    except (TypeError, ValueError, IndexError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"kernel_fn took no inputs of shape {x.shape}: {type(error).__name__}: {error}") from error
    if kernel.shape != expected:
        got = f"kernel_fn gave a kernel of shape {kernel.shape} for inputs {x.shape}"
        raise ValueError(f"{got}; expected {expected}: {POSITIONS}")
    return kernel


def _positions_per_pair(triple: Triple, shape: tuple[int, ...]) -> int:
    """How many pairs of spatial positions a kernel_fn keeps for a pair of inputs: all, unless it wants fewer."""
    positions = math.prod(shape[:-1])
    diagonal = getattr(triple.kernel_fn, "input_req", {}).get("diagonal_spatial", False)
    return positions if diagonal else positions**2


def _tiles(x: Array, size: int) -> Array:
    """Return inputs in groups of `size`, the last one filled up with copies of the last input."""
    count = -(-x.shape[0] // size)
    padded = jnp.pad(x, [(0, count * size - x.shape[0])] + [(0, 0)] * (x.ndim - 1), mode="edge")
    return padded.reshape(count, size, *x.shape[1:])


@jax.jit
def _mirrored(kernel: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return (kernel + kernel.T) / 2

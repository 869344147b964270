"""The multilayer perceptron: its infinite-width kernels and the same network at finite width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points
from ntkspec.kernel.activation import Activation, Pair, named, safe_sqrt
from ntkspec.kernel.coincidence import resolve_coincident

__all__ = ["MLP", "Kernels", "Parameters"]

Parametrization = Literal["ntk", "standard"]
#: One {"w": (fan_in, fan_out), "b": (fan_out,)} a Dense layer, first layer first.
Parameters = list[dict[str, Array]]


class Kernels(NamedTuple):
    """Both kernels of a network for pairs of inputs."""

    nngp: Array
    ntk: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MLP:
    """A fully connected network: `depth` hidden layers, that is depth + 1 Dense layers, linear output.

    Each Dense layer of fan-in f computes
    ``parametrization="ntk"``: y = W_std/√f · w x + b_std · b with all parameters N(0, 1);
    ``parametrization="standard"``: y = w x + b with w ~ N(0, W_std²/f), b ~ N(0, b_std²), trained with one rate.

    The same object is the infinite-width kernel (`ntk`, `nngp`) and the finite network (`init`, `apply`).

    Args:
        depth: number of hidden layers, at least 1.
        activation: a name, or an object with ``__call__`` and ``dual`` (see `ntkspec.kernel.activation`).
        W_std: standard deviation of the weights, before the 1/√f.
        b_std: standard deviation of the biases.
        parametrization: "ntk" or "standard".
        width: units in each hidden layer; needed by `init` and by the standard parametrization's kernel.

    Raises:
        ValueError: on a depth below 1, an unknown name, a non-positive `W_std` or width, a negative `b_std`, or
            a standard parametrization without a width.

    Source: Jacot et al. 2018 (the NTK); Lee et al. 2019, "Wide neural networks of any depth evolve as linear
    models", section 2; Sohl-Dickstein et al. 2020 for the standard parametrization.

    Example:
        >>> import ntkspec as ns
        >>> net = ns.kernel.MLP(depth=1, W_std=2**0.5)
        >>> net.nngp([[1.0, 0.0], [0.0, 1.0]]).round(4).tolist()
        [[1.0, 0.3183], [0.3183, 1.0]]
    """

    depth: int = field(metadata={"static": True})
    activation: Activation | str = "relu"
    W_std: float | Array = 2**0.5
    b_std: float | Array = 0.0
    parametrization: Parametrization = field(default="ntk", metadata={"static": True})
    width: int | None = field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        # JAX calls this again with tracers and placeholders as leaves: only concrete numbers are checked.
        if not isinstance(self.depth, int | np.integer) or self.depth < 1:
            raise ValueError(f"depth={self.depth!r}; expected a positive integer, the number of hidden layers")
        if isinstance(self.activation, str):
            object.__setattr__(self, "activation", named(self.activation))
        if isinstance(self.W_std, int | float) and not 0 < self.W_std < float("inf"):
            raise ValueError(f"W_std={self.W_std}; expected a positive number (ReLU keeps its variance at 2**0.5)")
        if isinstance(self.b_std, int | float) and not 0 <= self.b_std < float("inf"):
            raise ValueError(f"b_std={self.b_std}; expected a number that is not negative")
        if self.width is not None and (not isinstance(self.width, int | np.integer) or self.width < 1):
            raise ValueError(f"width={self.width!r}; expected a positive integer")
        if self.parametrization not in ("ntk", "standard"):
            raise ValueError(f"parametrization={self.parametrization!r}; expected 'ntk' or 'standard'")
        if self.parametrization == "standard" and self.width is None:
            raise ValueError(
                "parametrization='standard' needs a width: its kernel grows with the width; "
                "give width=..., or take parametrization='ntk'"
            )

    def ntk(self, x: ArrayLike, z: ArrayLike | None = None) -> Array:
        """The neural tangent kernel of inputs.

        Args:
            x: inputs, shape (n, p).
            z: inputs, shape (k, p); None means `x`.

        Returns:
            Θ(x_i, z_j), shape (n, k); exactly symmetric where z is None.

        Raises:
            ValueError: if the inputs are not matrices of one number of columns, or the activation has no derivative.
        """
        self.require_derivative()
        return _gram(self, *_check_inputs(x, z)).ntk

    def nngp(self, x: ArrayLike, z: ArrayLike | None = None) -> Array:
        """The kernel of the network's Gaussian process at initialisation; arguments as `ntk`.

        Returns:
            E[f(x_i) f(z_j)], shape (n, k).
        """
        return _gram(self, *_check_inputs(x, z)).nngp

    def kernels(self, q_x: Array, q_z: Array, versine: Array, fan_in: int) -> Kernels:
        """The layer recursion, from the inputs' mean squares and versines.

        Args:
            q_x: |x|²/p, broadcastable.
            q_z: |z|²/p, broadcastable.
            versine: 1 − x·z/(|x||z|), broadcastable.
            fan_in: p, the number of input coordinates.

        Returns:
            NNGP and NTK of the output, broadcast shape.
        """
        pair = Pair.of_versine(q_x, q_z, versine)
        theta = jnp.zeros(())
        for layer in range(self.depth + 1):
            if layer > 0:
                pair, derivative = self._activation.dual(pair)
                theta = theta * derivative
            inputs = pair.covariance
            pair = _dense(pair, self.W_std, self.b_std)
            gradient = fan_in * inputs + 1 if self.parametrization == "standard" else pair.covariance
            theta = gradient + self.W_std**2 * theta
            fan_in = self.width or 1
        return Kernels(pair.covariance, theta)

    def init(self, key: Array, dim: int, outputs: int = 1) -> Parameters:
        """Random parameters of the finite network.

        Args:
            key: a JAX random key.
            dim: number of input coordinates p.
            outputs: number of outputs.

        Returns:
            One {"w": (fan_in, fan_out), "b": (fan_out,)} a layer.

        Raises:
            ValueError: if the network has no width.
        """
        if self.width is None:
            raise ValueError("this network has no width; build it with MLP(..., width=512) to train it")
        sizes = [dim, *[self.width] * self.depth, outputs]
        layers = []
        for fan_in, fan_out, layer_key in zip(
            sizes[:-1], sizes[1:], jax.random.split(key, len(sizes) - 1), strict=True
        ):
            w_key, b_key = jax.random.split(layer_key)
            w = jax.random.normal(w_key, (fan_in, fan_out))
            b = jax.random.normal(b_key, (fan_out,))
            if self.parametrization == "standard":
                w, b = w * self.W_std / fan_in**0.5, b * self.b_std
            layers.append({"w": w, "b": b})
        return layers

    def apply(self, params: Parameters, x: ArrayLike) -> Array:
        """The finite network's outputs.

        Args:
            params: from `init`.
            x: inputs, shape (n, p).

        Returns:
            Outputs, shape (n, outputs), in the parameters' precision.
        """
        hidden = jnp.asarray(x, dtype=params[0]["w"].dtype)
        for layer, parameters in enumerate(params):
            if layer > 0:
                hidden = self._activation(hidden)
            if self.parametrization == "standard":
                hidden = hidden @ parameters["w"] + parameters["b"]
            else:
                gain = jnp.asarray(self.W_std / parameters["w"].shape[0] ** 0.5, dtype=hidden.dtype)
                shift = jnp.asarray(self.b_std, dtype=hidden.dtype)
                hidden = gain * (hidden @ parameters["w"]) + shift * parameters["b"]
        return hidden

    def require_derivative(self) -> None:
        """Refuse an NTK that does not exist.

        Raises:
            ValueError: if the activation has no derivative, as a jump has not.
        """
        if not self._activation.differentiable:
            raise ValueError(
                f"activation {type(self._activation).__name__} has no derivative, so the network has no NTK; its NNGP "
                "kernel exists (`nngp`, `nngp_lag`, which='nngp'), and a steep Erf approaches Sign with both"
            )

    @property
    def _activation(self) -> Activation:
        return self.activation  # type: ignore[return-value]  # __post_init__ has turned a name into an object


def _dense(pair: Pair, W_std: float | Array, b_std: float | Array) -> Pair:
    """A Dense layer: c → W² c + b², with the versine of the result free of cancellation.

    With s = √(q_x q_z) and primes for the layer's output,
    √(q_x' q_z') − c' = W² s v + W² b² (√q_x − √q_z)² / (√(q_x' q_z') + W² s + b²).
    """
    W2, b2 = W_std**2, b_std**2
    new_x, new_z = W2 * pair.second_x + b2, W2 * pair.second_z + b2
    root_x, root_z = safe_sqrt(pair.second_x), safe_sqrt(pair.second_z)
    scale = safe_sqrt(new_x) * safe_sqrt(new_z)
    total = scale + W2 * root_x * root_z + b2
    spread = W2 * b2 * (root_x - root_z) ** 2 / jnp.where(total > 0, total, 1)
    versine = (W2 * root_x * root_z * pair.versine + spread) / jnp.where(scale > 0, scale, 1)
    return Pair(new_x, new_z, W2 * pair.covariance + b2, versine)


def _check_inputs(x: ArrayLike, z: ArrayLike | None) -> tuple[Array, Array | None]:
    x = jnp.asarray(x, dtype=float)
    if x.ndim != 2:
        raise ValueError(f"inputs have shape {x.shape}; expected (n, p), one row an input")
    return x, None if z is None else check_points(jnp.asarray(z, dtype=float), x.shape[1])


def _gram(network: MLP, x: Array, z: Array | None) -> Kernels:
    both = _pairs(network, x, z)
    # The layers' products of the two second moments round by the order of their factors. A program of its own: within
    # the first the compiler would fold a last product into this sum, and past a barrier too.
    return both if z is not None else _mirrored(both)


@jax.jit
def _mirrored(both: Kernels) -> Kernels:
    return jax.tree.map(lambda k: (k + k.T) / 2, both)


@jax.jit
def _pairs(network: MLP, x: Array, z: Array | None) -> Kernels:
    symmetric = z is None
    z = x if z is None else z
    unit_x, q_x = _normalised(x)
    unit_z, q_z = _normalised(z)
    versine = resolve_coincident(
        1 - unit_x @ unit_z.T, lambda i, j: jnp.sum((unit_x[i] - unit_z[j]) ** 2, axis=-1) / 2, symmetric
    )
    return network.kernels(q_x[:, None], q_z[None, :], versine, x.shape[1])


def _normalised(x: Array) -> tuple[Array, Array]:
    norm = safe_sqrt(jnp.sum(x**2, axis=1))
    return x / jnp.where(norm > 0, norm, 1)[:, None], norm**2 / x.shape[1]

"""The multilayer perceptron: its infinite-width kernels and the same network at finite width."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points
from ntkspec.kernel.activation import Activation, Pair, named, safe_sqrt
from ntkspec.kernel.coincidence import resolve_coincident
from ntkspec.kernel.pair import add, constant, scale

__all__ = ["MLP", "Kernels", "Parameters"]

Parametrization = Literal["ntk", "standard"]
#: One layer: {"w": (fan_in, fan_out), "b": (fan_out,)}, and "skip": (p, fan_out) where the input comes in again.
Layer = dict[str, Array]
Parameters = list[Layer]


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

    The same object is the infinite-width kernel (`ntk`, `nngp`) and the finite network (`init`, `apply`). Several
    outputs share the kernel: theirs is Θ ⊗ I.

    Args:
        depth: number of hidden layers, at least 1.
        activation: a name, or an object with ``__call__`` and ``dual`` (see `ntkspec.kernel.activation`).
        W_std: standard deviation of the weights, before the 1/√f; one number, or one for each Dense layer.
        b_std: standard deviation of the biases; likewise.
        parametrization: "ntk" or "standard".
        width: units in each hidden layer; needed by `init` and by the standard parametrization's kernel.
        residual: add each hidden layer's pre-activations to the next one's, y ← y + Dense(φ(y)).
        skip: the Dense layer (1 to depth, counted from the input's 0) that is fed the input again, through weights of
            its own: y = Dense(φ(y)) + W_std/√p · w x. NeRF has one in the middle.
        trained: "all" parameters, or those of the "last" Dense layer alone, whose kernel is that of random features.

    Raises:
        ValueError: on a depth below 1, an unknown name, a non-positive `W_std` or width, a negative `b_std`, a list of
            another length than depth + 1, a skip to a layer that is not there, or a standard parametrization
            without a width.

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
    W_std: float | tuple[float, ...] | Array = 2**0.5
    b_std: float | tuple[float, ...] | Array = 0.0
    parametrization: Parametrization = field(default="ntk", metadata={"static": True})
    width: int | None = field(default=None, metadata={"static": True})
    residual: bool = field(default=False, metadata={"static": True})
    skip: int | None = field(default=None, metadata={"static": True})
    trained: Literal["all", "last"] = field(default="all", metadata={"static": True})

    def __post_init__(self) -> None:
        # JAX calls this again with tracers and placeholders as leaves: only concrete numbers are checked.
        if not isinstance(self.depth, int | np.integer) or self.depth < 1:
            raise ValueError(f"depth={self.depth!r}; expected a positive integer, the number of hidden layers")
        if isinstance(self.activation, str):
            object.__setattr__(self, "activation", named(self.activation))
        for name, least in (("W_std", "a positive number"), ("b_std", "a number that is not negative")):
            object.__setattr__(self, name, _each_layer(name, getattr(self, name), self.depth, least))
        if self.width is not None and (not isinstance(self.width, int | np.integer) or self.width < 1):
            raise ValueError(f"width={self.width!r}; expected a positive integer")
        if self.parametrization not in ("ntk", "standard"):
            raise ValueError(f"parametrization={self.parametrization!r}; expected 'ntk' or 'standard'")
        if self.parametrization == "standard" and self.width is None:
            raise ValueError(
                "parametrization='standard' needs a width: its kernel grows with the width; "
                "give width=..., or take parametrization='ntk'"
            )
        if self.skip is not None and not 1 <= self.skip <= self.depth:
            raise ValueError(f"skip={self.skip}; expected a Dense layer between 1 and depth={self.depth}, or None")
        if self.trained not in ("all", "last"):
            raise ValueError(f"trained={self.trained!r}; expected 'all' or 'last'")

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
        source = Pair.of_versine(q_x, q_z, versine)
        pair, theta, gradient = source, jnp.zeros(()), jnp.zeros(())
        for layer in range(self.depth + 1):
            inputs, inherited = source, jnp.zeros(())
            if layer > 0:
                inputs, derivative = self._activation.dual(pair)
                inherited = theta * derivative
            W_variance, b_variance = self._std(layer)[0] ** 2, self._std(layer)[1] ** 2
            new = add(scale(inputs, W_variance), constant(b_variance))
            standard = self.parametrization == "standard"
            gradient = (self.width if layer else fan_in) * inputs.covariance + 1 if standard else new.covariance  # type: ignore[operator]  # checked on construction
            if layer == self.skip:
                again = scale(source, W_variance)
                new = add(new, again)
                gradient = gradient + (fan_in * source.covariance if standard else again.covariance)
            new_theta = gradient + W_variance * inherited
            if self._adds_up(layer):
                new, new_theta = add(pair, new), theta + new_theta
            pair, theta = new, new_theta
        return Kernels(pair.covariance, gradient if self.trained == "last" else theta)

    def init(self, key: Array, dim: int, outputs: int = 1) -> Parameters:
        """Random parameters of the finite network.

        Args:
            key: a JAX random key.
            dim: number of input coordinates p.
            outputs: number of outputs.

        Returns:
            One {"w": (fan_in, fan_out), "b": (fan_out,)} a layer; the one that `skip` names also has "skip".

        Raises:
            ValueError: if the network has no width.
        """
        if self.width is None:
            raise ValueError("this network has no width; build it with MLP(..., width=512) to train it")
        sizes = [dim, *[self.width] * self.depth, outputs]
        layers = []
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            W_std, b_std = self._std(layer) if self.parametrization == "standard" else (None, 1.0)
            w_key, b_key, skip_key = jax.random.split(jax.random.fold_in(key, layer), 3)
            parameters = {
                "w": _weights(w_key, fan_in, fan_out, W_std),
                "b": b_std * jax.random.normal(b_key, (fan_out,)),
            }
            if layer == self.skip:
                parameters["skip"] = _weights(skip_key, dim, fan_out, W_std)
            layers.append(parameters)
        return layers

    def apply(self, params: Parameters, x: ArrayLike) -> Array:
        """The finite network's outputs.

        Args:
            params: from `init`.
            x: inputs, shape (n, p).

        Returns:
            Outputs, shape (n, outputs), in the parameters' precision.
        """
        source = jnp.asarray(x, dtype=params[0]["w"].dtype)
        stream = source
        for layer, parameters in enumerate(params):
            hidden = self._activation(stream) if layer > 0 else source
            if self.trained == "last" and layer == self.depth:
                hidden = jax.lax.stop_gradient(hidden)
            new = self._product(layer, hidden, parameters["w"]) + self._bias(layer, parameters["b"])
            if "skip" in parameters:
                new = new + self._product(layer, source, parameters["skip"])
            stream = stream + new if self._adds_up(layer) else new
        return stream

    def _product(self, layer: int, hidden: Array, w: Array) -> Array:
        if self.parametrization == "standard":
            return hidden @ w
        return jnp.asarray(self._std(layer)[0] / w.shape[0] ** 0.5, dtype=hidden.dtype) * (hidden @ w)

    def _bias(self, layer: int, b: Array) -> Array:
        return b if self.parametrization == "standard" else jnp.asarray(self._std(layer)[1], dtype=b.dtype) * b

    def _adds_up(self, layer: int) -> bool:
        """Whether a Dense layer adds to the stream it reads: not the first nor the last, whose sizes differ."""
        return self.residual and 0 < layer < self.depth

    def _std(self, layer: int) -> tuple[Array | float, Array | float]:
        return _at(self.W_std, layer), _at(self.b_std, layer)

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


def _at(value: float | tuple[float, ...] | Array, layer: int) -> Array | float:
    if isinstance(value, tuple) or getattr(value, "ndim", 0) == 1:
        return value[layer]  # type: ignore[index]
    return value


def _each_layer(name: str, value: Any, depth: int, least: str) -> Any:
    """A standard deviation, or a tuple of one for each Dense layer; what JAX puts in its place passes."""
    listed = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)
    many = tuple(value) if listed else None
    if many is not None and len(many) != depth + 1:
        raise ValueError(
            f"{name} has {len(many)} values; expected one number, or one for each of {depth + 1} Dense layers"
        )
    for one in many or (value,):
        if isinstance(one, int | float | np.floating) and not (
            0 <= one < float("inf") and (one > 0 or least != "a positive number")
        ):
            hint = " (ReLU keeps its variance at 2**0.5)" if least == "a positive number" else ""
            raise ValueError(f"{name}={one}; expected {least}{hint}")
    return value if many is None else many


def _weights(key: Array, fan_in: int, fan_out: int, W_std: Array | float | None) -> Array:
    """N(0, 1), or N(0, W_std²/fan_in) where the network itself does not scale them."""
    w = jax.random.normal(key, (fan_in, fan_out))
    return w if W_std is None else w * W_std / fan_in**0.5


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
    unit_x, q_x = normalised(x)
    unit_z, q_z = normalised(z)
    versine = resolve_coincident(
        1 - unit_x @ unit_z.T, lambda i, j: jnp.sum((unit_x[i] - unit_z[j]) ** 2, axis=-1) / 2, symmetric
    )
    return network.kernels(q_x[:, None], q_z[None, :], versine, x.shape[1])


def normalised(x: Array) -> tuple[Array, Array]:
    """Directions (n, p) and mean squares |x|²/p (n,) of inputs; a zero input stays zero."""
    norm = safe_sqrt(jnp.sum(x**2, axis=1))
    return x / jnp.where(norm > 0, norm, 1)[:, None], norm**2 / x.shape[1]

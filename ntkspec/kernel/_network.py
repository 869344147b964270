"""The multilayer perceptron: its infinite-width kernels and the same network at finite width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.checks import Refused, check_choice, check_number, check_points, check_positive, check_sizes
from ntkspec.kernel._base import Factor, Kernels, WithGram
from ntkspec.kernel._gram import Which, gram, tile_of_vectors, unit_vectors
from ntkspec.kernel._overflow import is_false, overflow
from ntkspec.kernel.activation import Activation, Pair, named
from ntkspec.mapping import Versines
from ntkspec.progress import NO_PROGRESS, Progress

Parametrization = Literal["ntk", "standard"]
#: One layer: {"w": (fan_in, fan_out), "b": (fan_out,)}, and "skip": (p, fan_out) where the input comes in again.
Layer = dict[str, Array]
Parameters = list[Layer]


class MLP(WithGram):
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
        ValueError: naming the argument that is out of range; `W_std` is positive, and a list has depth + 1 numbers.

    Source: Jacot et al. 2018 (the NTK); Lee et al. 2019, "Wide neural networks of any depth evolve as linear
    models", section 2; Sohl-Dickstein et al. 2020 for the standard parametrization.

    Example:
        >>> import ntkspec as ns
        >>> net = ns.kernel.MLP(depth=1, W_std=2**0.5)
        >>> net.nngp([[1.0, 0.0], [0.0, 1.0]]).round(4).tolist()
        [[1.0, 0.3183], [0.3183, 1.0]]
    """

    depth: int = eqx.field(static=True)
    activation: Activation | str = "relu"
    W_std: float | tuple[float, ...] | Array = 2**0.5
    b_std: float | tuple[float, ...] | Array = 0.0
    parametrization: Parametrization = eqx.field(default="ntk", static=True)
    width: int | None = eqx.field(default=None, static=True)
    residual: bool = eqx.field(default=False, static=True)
    skip: int | None = eqx.field(default=None, static=True)
    trained: Literal["all", "last"] = eqx.field(default="all", static=True)
    #: The Jacobian is known as `factors`.
    layered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.activation, str):
            self.activation = named(self.activation)
        for name in ("W_std", "b_std"):
            value = getattr(self, name)
            if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
                setattr(self, name, tuple(value))

    def __check_init__(self) -> None:
        check_sizes(depth=self.depth, **({} if self.width is None else {"width": self.width}))
        check_choice("parametrization", self.parametrization, "ntk", "standard")
        check_choice("trained", self.trained, "all", "last")
        if not hasattr(self.activation, "dual"):
            numerical = "ns.kernel.Numerical(function, kinks=(...)), which computes them by quadrature, or take a name"
            raise TypeError(f"activation has no expectations, as a plain function; wrap it as {numerical}")
        for layer in range(self.depth + 1):
            W_std, b_std = self._std(layer)
            # Arrays pass: their values may not be known.
            if not isinstance(W_std, Array):
                check_positive("W_std", W_std, "ReLU keeps its variance at 2**0.5")
            if not isinstance(b_std, Array):
                check_number("b_std", b_std, 0, hint="0 leaves biases out of the kernel")
        if self.parametrization == "standard" and self.width is None:
            message = "parametrization='standard' needs a width, with which its kernel grows; give {width}, or take "
            raise Refused(message + "{parametrization}", width=..., parametrization="ntk")
        if self.skip is not None and not (isinstance(self.skip, int | np.integer) and 1 <= self.skip <= self.depth):
            raise ValueError(f"skip={self.skip}; expected a Dense layer between 1 and depth={self.depth}, or None")

    def gram(
        self, x: ArrayLike, z: ArrayLike | None = None, which: Which = "ntk", progress: Progress = NO_PROGRESS
    ) -> Array:
        if which == "ntk":
            self.require_derivative()
        x = check_points(x, None, "inputs")
        z = None if z is None else check_points(z, x.shape[1])
        matrix, finite = gram(self, x, z, which, progress)
        if is_false(finite):
            both = x if z is None else jnp.concatenate([x, z])
            raise overflow(self, jnp.max(jnp.sum(both**2, axis=1)) / x.shape[1])
        return matrix

    def rows(self, x: Float[Array, "n p"]) -> tuple[Float[Array, "n p"], Float[Array, " n"]]:
        return unit_vectors(x)

    def tile(self, x: tuple[Array, Array], z: tuple[Array, Array], same: Array, which: Which) -> Array:
        return tile_of_vectors(self, x, z, same, which)

    def kernels(self, q_x: Array, q_z: Array, versine: Array | Versines, fan_in: int) -> Kernels:
        *_, (pair, theta, gradient) = self.layers(q_x, q_z, versine, fan_in)
        return Kernels(pair.covariance, gradient if self.trained == "last" else theta)

    def layers(
        self, q_x: Array, q_z: Array, versine: Array | Versines, fan_in: int
    ) -> Iterator[tuple[Pair, Array, Array]]:
        """Return the recursion behind each Dense layer: second moments, NTK, and the layer's own part of it."""
        source = Pair.of_versine(q_x, q_z, versine)
        pair, theta = source, jnp.zeros(())
        for layer in range(self.depth + 1):
            inputs, inherited = source, jnp.zeros(())
            if layer > 0:
                inputs, derivative = self._activation.dual(pair)
                if getattr(self._activation, "nonnegative", False):
                    inputs = inputs._replace(coversine=None)
                inherited = theta * derivative
            W_variance, b_variance = self._std(layer)[0] ** 2, self._std(layer)[1] ** 2
            new = inputs.scaled(W_variance).plus(Pair.constant(b_variance))
            standard = self.parametrization == "standard"
            gradient = (self.width if layer else fan_in) * inputs.covariance + 1 if standard else new.covariance  # type: ignore[operator]  # checked on construction
            if layer == self.skip:
                again = source.scaled(W_variance)
                new = new.plus(again)
                gradient = gradient + (fan_in * source.covariance if standard else again.covariance)
            new_theta = gradient + W_variance * inherited
            if self._adds_up(layer):
                new, new_theta = pair.plus(new), theta + new_theta
            pair, theta = new, new_theta
            yield pair, theta, gradient

    def init(self, key: Array, dim: int, outputs: int = 1) -> Parameters:
        """Draw parameters of the finite network on `dim` inputs.

        Returns:
            One {"w": (fan_in, fan_out), "b": (fan_out,)} a layer; the one that `skip` names also has "skip".
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

    def apply(self, params: Parameters, x: ArrayLike) -> Float[Array, "n outputs"]:
        return self._forward(params, self._source(params, x))[0]

    def factors(self, params: Parameters, x: ArrayLike) -> list[Factor]:
        """Return the Jacobian in the trained parameters, each Dense layer's as outer products.

        A layer's inputs are scaled as its weights are, with a constant for the bias and what `skip` brings in again
        beside them; its signals take one pass back an output.
        """
        source = self._source(params, x)
        shifts = [jnp.zeros((len(source), layer["w"].shape[1]), source.dtype) for layer in params]
        outputs, pullback, inputs = jax.vjp(lambda s: self._forward(params, source, s), shifts, has_aux=True)
        # Points do not see each other: one pass serves all of them.
        units = jnp.eye(outputs.shape[1], dtype=outputs.dtype)
        (signals,) = jax.vmap(lambda unit: pullback(jnp.broadcast_to(unit, outputs.shape)), out_axes=1)(units)
        return [
            Factor(self._weighted(layer, params[layer], inputs[layer], source), signals[layer])
            for layer in (range(self.depth + 1) if self.trained == "all" else [self.depth])
        ]

    def _source(self, params: Parameters, x: ArrayLike) -> Array:
        source = jnp.asarray(x, dtype=params[0]["w"].dtype)
        if source.ndim != 2 or source.shape[1] != params[0]["w"].shape[0]:
            expected = f"(n, {params[0]['w'].shape[0]}), the coordinates that the parameters were made for"
            raise ValueError(f"inputs have shape {source.shape}; expected {expected} by init(key, dim)")
        return source

    def _forward(
        self, params: Parameters, source: Array, shifts: list[Array] | None = None
    ) -> tuple[Array, list[Array]]:
        """Return outputs, and the inputs of each Dense layer; `shifts` are added to the layers' own outputs."""
        stream, inputs = source, []
        for layer, parameters in enumerate(params):
            hidden = self._activation(stream) if layer > 0 else source
            if self.trained == "last" and layer == self.depth:
                hidden = jax.lax.stop_gradient(hidden)
            new = self._product(layer, hidden, parameters["w"]) + self._bias(layer, parameters["b"])
            if "skip" in parameters:
                new = new + self._product(layer, source, parameters["skip"])
            if shifts is not None:
                new = new + shifts[layer]
            stream = stream + new if self._adds_up(layer) else new
            inputs.append(hidden)
        return stream, inputs

    def _weighted(self, layer: int, parameters: Layer, hidden: Array, source: Array) -> Array:
        """Return what the parameters of a Dense layer multiply, (n, fan_in + 1) and more where `skip` enters."""
        products = [hidden, source] if "skip" in parameters else [hidden]
        constant = self._bias(layer, jnp.ones((len(hidden), 1), hidden.dtype))
        return jnp.concatenate([*(self._gain(layer, each, each.shape[1]) for each in products), constant], axis=1)

    def _product(self, layer: int, hidden: Array, w: Array) -> Array:
        return self._gain(layer, hidden @ w, len(w))

    def _gain(self, layer: int, values: Array, fan_in: int) -> Array:
        """Return what a layer of that fan-in multiplies its products by."""
        if self.parametrization == "standard":
            return values
        return jnp.asarray(self._std(layer)[0] / fan_in**0.5, dtype=values.dtype) * values

    def _bias(self, layer: int, b: Array) -> Array:
        return b if self.parametrization == "standard" else jnp.asarray(self._std(layer)[1], dtype=b.dtype) * b

    def _adds_up(self, layer: int) -> bool:
        """Whether a Dense layer adds to the stream it reads: not the first nor the last, whose sizes differ."""
        return self.residual and 0 < layer < self.depth

    def _std(self, layer: int) -> tuple[Array | float, Array | float]:
        return self._at("W_std", layer), self._at("b_std", layer)

    def _at(self, name: str, layer: int) -> Array | float:
        """Return the deviation of a layer; shapes are checked here, for JAX builds networks of stacked leaves, too."""
        value = getattr(self, name)
        shape = (len(value),) if isinstance(value, tuple) else np.shape(value)
        if value is None or shape not in ((), (self.depth + 1,)):
            given = "None" if value is None else f"an array of shape {shape}"
            expected = f"one number, or one for each of {self.depth + 1} Dense layers"
            raise ValueError(f"{name} is {given}; expected {expected}")
        return value[layer] if shape else value

    def require_derivative(self) -> None:
        if not self._activation.differentiable:
            nngp = "its NNGP kernel exists (`nngp`, which='nngp'), and a steep Erf approaches Sign with both"
            raise ValueError(f"activation {type(self._activation).__name__} has no derivative, so no NTK; {nngp}")

    @property
    def isotropic(self) -> bool:
        return True

    @property
    def _activation(self) -> Activation:
        return self.activation  # type: ignore[return-value]  # a name has become an object


def _weights(key: Array, fan_in: int, fan_out: int, W_std: Array | float | None) -> Array:
    """N(0, 1), or N(0, W_std²/fan_in) where the network itself does not scale them."""
    w = jax.random.normal(key, (fan_in, fan_out))
    return w if W_std is None else w * W_std / fan_in**0.5

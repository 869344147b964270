"""What is trained and by which measure: initial weights, the function of the parameters, its products and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from ntkspec.checks import Refused
from ntkspec.kernel._base import Network
from ntkspec.kernel._equation import evaluate, evaluated
from ntkspec.kernel._network import MLP, Parameters
from ntkspec.kernel.activation import Sin
from ntkspec.losses import PointLoss, logistic, squared
from ntkspec.trainer._optimizer import build
from ntkspec.training import OWN, Optimizer, Training

#: What an optimizer raises that was given settings, or wants arguments, that do not fit.
MISFITS = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, AssertionError, NotImplementedError)

#: (network, key, its own parameters) -> other parameters of the same shapes.
Initialisation = Callable[[Network, Array, Any], Any]


def own(_network: Network, _key: Array, params: Any) -> Any:
    """As the network's kernel has it."""
    return params


def glorot(_network: Network, key: Array, params: Parameters) -> Parameters:
    """Weights N(0, 2/(fan_in + fan_out)), biases N(0, 10⁻⁴): JAX's `stax.Dense`, with which the paper was computed.

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 12; `jax.example_libraries.stax`.
    """

    def draw(key: Array, name: str, shape: tuple[int, ...], _layer: int) -> Array:
        deviation = 1e-2 if name == "b" else (2 / sum(shape)) ** 0.5
        return deviation * jax.random.normal(key, shape)

    return _redrawn(key, params, draw)


def siren(network: Network, key: Array, params: Parameters) -> Parameters:
    """Uniform: w within 1/fan_in in the first layer, within √(6/fan_in)/ω₀ in the others; b within 1/√fan_in.

    Source: Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions", section 3.2;
    https://github.com/vsitzmann/siren, modules.py (the biases are those of `torch.nn.Linear`).
    """
    omega = network.activation.omega  # type: ignore[attr-defined]  # a plan has seen it

    def draw(key: Array, name: str, shape: tuple[int, ...], layer: int) -> Array:
        if name == "b":
            reach: Any = params[layer]["w"].shape[0] ** -0.5
        else:
            reach = 1 / shape[0] if layer == 0 else (6 / shape[0]) ** 0.5 / omega
        return reach * jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

    return _redrawn(key, params, draw)


#: By name, for `train(init=...)`.
INITIALISATIONS: dict[str, Initialisation] = {"network": own, "glorot": glorot, "siren": siren}


def initialisation_refusals(init: str, network: Network) -> Iterator[Refused]:
    """Yield why an initialisation belongs to another kind of network."""
    if init != "network" and not (isinstance(network, MLP) and network.parametrization == "standard"):
        kind = "NTK parametrisation" if isinstance(network, MLP) else type(network).__name__
        yield Refused(
            f"init={init!r} draws the weights of layers y = w x + b, and this network ({kind}) has others; take an MLP "
            "with {parametrization}, or {init}",
            parametrization="standard",
            init="network",
        )
    elif init == "siren" and not isinstance(network.activation, Sin):  # type: ignore[attr-defined]  # of an MLP
        yield Refused(
            f"init='siren' belongs to sines, and the activation is {type(network.activation).__name__}; take an MLP "  # type: ignore[attr-defined]
            "with {activation}",
            activation="siren",
        )


def _redrawn(key: Array, params: Parameters, draw: Callable[[Array, str, tuple[int, ...], int], Array]) -> Parameters:
    """Every array drawn anew by name, shape and layer, each from a key of its own."""
    return [
        {
            name: draw(jax.random.fold_in(jax.random.fold_in(key, i), j), name, leaf.shape, i)
            for j, (name, leaf) in enumerate(sorted(layer.items()))
        }
        for i, layer in enumerate(params)
    ]


def products_in_bfloat16(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function with every product of float32 matrices in bfloat16.

    The settings of `jax.default_matmul_precision` are hints that processors without such units pass over. Here the
    operands are bfloat16 numbers on every device, so what the rounding does to training is the same everywhere.
    Loops and branches inside the function keep their own products. Differentiate it before, not after.

    Example:
        >>> x = jnp.array([[1.0 + 2**-10]], dtype=jnp.float32)
        >>> float(products_in_bfloat16(jnp.matmul)(x, x)[0, 0])
        1.0
    """

    def rounded(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        results = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), _apply)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rounded


def scalar_in_bfloat16(function: Callable[[Any], Array]) -> Callable[[Any], Array]:
    """`products_in_bfloat16` of a function with one value, which may be differentiated afterwards.

    Its gradient is that of `function` with its products rounded, and not that of the roundings.
    """
    rounded = jax.custom_jvp(products_in_bfloat16(function))

    @rounded.defjvp
    def along(params: Any, tangents: Any) -> tuple[Array, Array]:
        value, gradient = products_in_bfloat16(jax.value_and_grad(function))(*params)
        parts = jax.tree.map(lambda g, t: jnp.sum(g * t), gradient, *tangents)
        return value, sum(jax.tree.leaves(parts), jnp.zeros_like(value))

    return rounded


def _apply(equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    if equation.primitive.name == "dot_general" and all(a.dtype == jnp.float32 for a in operands):
        a, b = (operand.astype(jnp.bfloat16) for operand in operands)
        dimensions = equation.params["dimension_numbers"]
        return [jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)]
    return evaluated(equation, operands)


#: The fields of a Fourier mapping that can be learned along with the network.
LEARNABLE = ("amplitudes", "frequencies")


@dataclass(frozen=True)
class Recipe:
    """What a step does; numbers are elsewhere, so that another learning rate is the same program.

    `training` has the defaults of `Training` for options that no step depends on.
    """

    training: Training
    rateless: bool = False

    @classmethod
    def of(cls, training: Training, rateless: bool = False) -> Recipe:
        """Return the recipe of a training."""
        plain = Training()
        apart = {name: getattr(plain, name) for name in ("schedule", "init", "centered", "dtype")}
        loss = training.loss if training.loss == "logistic" else plain.loss
        return cls(replace(training, loss=loss, **apart), rateless)

    @property
    def optimizer(self) -> Optimizer:
        """How a gradient becomes a step."""
        return self.training.optimizer

    @property
    def point_loss(self) -> PointLoss:
        """ℓ(f, y) of one value."""
        if self.training.loss == "logistic":
            return logistic
        return self.training.point_loss or squared

    @property
    def sigmoid(self) -> bool:
        """Whether the function is the sigmoid of the network's output."""
        return self.training.output == "sigmoid"

    @property
    def bfloat16(self) -> bool:
        """Whether float32 matrices are multiplied in bfloat16."""
        return self.training.matmul_precision == "bfloat16"

    def build(self, rate: Array, key: Array) -> Any:
        """Return the optax transformation of a step at a learning rate; `key` is for those that draw noise."""
        return build(self.optimizer, None if self.rateless else rate, key)

    def output(self, f: Array) -> Array:
        """Return the learned function, of the network's output f."""
        return jax.nn.sigmoid(f) if self.sigmoid else f

    def losses(self, f: Array, y: Array) -> Array:
        """ℓ of every value, of the network's output f."""
        return self.point_loss(f if self.training.of_logits else self.output(f), y)

    def products(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with the requested precision of matrix products."""
        return products_in_bfloat16(function) if self.bfloat16 else function

    def scalar(self, function: Callable[[Any], Array]) -> Callable[[Any], Array]:
        """`products` of a loss that an optimizer differentiates itself."""
        return scalar_in_bfloat16(function) if self.bfloat16 else function

    def guess(self, f: Array) -> Array:
        """Return what is compared with the labels: the sigmoid of a logit, too."""
        return jax.nn.sigmoid(f) if self.sigmoid or self.training.of_logits else f


def raw(recipe: Recipe, network: Network, params: Any, inputs: Array, fixed: dict[str, Array]) -> Array:
    """Return the network's outputs f before any sigmoid, (point, channel).

    Inputs are features γ(x) (point, feature); with a learned mapping the points x (point, axis), parameters are
    {"network": …, "mapping": its learned fields}, and `fixed` its other fields.
    """
    if not recipe.training.trainable:
        return network.apply(params, inputs)
    return network.apply(params["network"], _features(inputs, **fixed, **params["mapping"]))


def _features(x: Array, amplitudes: Array, frequencies: Array) -> Array:
    """γ(x) as `FourierMapping` has it, in the precision of the parameters instead of float64."""
    turns = jnp.matmul(x, frequencies.T, precision="highest")
    phase = 2 * jnp.pi * (turns - jnp.round(turns))
    return jnp.concatenate([amplitudes * jnp.cos(phase), amplitudes * jnp.sin(phase)], axis=-1)


def try_loss(recipe: Recipe, dtype: str) -> None:
    """Refuse a loss that does not give one number for each value; nothing is computed."""
    if recipe.point_loss in (squared, logistic):
        return
    values = jax.ShapeDtypeStruct((2, 3), dtype)
    loss = _shapes_of(
        "point_loss cannot be taken of values and labels",
        "Expected a function of both, elementwise in jax, such as lambda f, y: jnp.abs(f - y)",
        recipe.point_loss,
        values,
        values,
    )
    shape, kind = getattr(loss, "shape", None), getattr(loss, "dtype", None)
    if shape != values.shape or kind is None or not jnp.issubdtype(kind, jnp.floating):
        got = f"a {type(loss).__name__}" if shape is None else f"{kind} of shape {shape}"
        expected = "one loss for each value, of the same shape: training sums them itself"
        raise ValueError(f"point_loss gives {got} for values of shape {values.shape}; expected {expected}")


def try_step(recipe: Recipe, shapes: Any, dtype: str) -> None:
    """Refuse an optimizer that cannot take a step; nothing is computed."""
    optimizer = recipe.optimizer
    if optimizer.takes_rate and optimizer.name in OWN:
        return

    def step(key: jax.Array, params: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))  # type: ignore[return-value]

        value, gradient = jax.value_and_grad(loss)(params)
        built = recipe.build(jnp.asarray(1e-3, dtype=dtype), key)
        return built.update(gradient, built.init(params), params, value=value, grad=gradient, value_fn=loss)

    _shapes_of(
        f"optimizer {optimizer} cannot take a step",
        "It is given gradient, parameters, the loss and its function, and nothing else; look at its settings, or take "
        "another, such as 'adam'",
        step,
        jax.random.key(0),
        shapes,
    )


def _shapes_of(failing: str, advice: str, function: Callable[..., Any], *args: Any) -> Any:
    """Return the shapes of what a function gives; a ValueError where it fails."""
    try:
        return jax.eval_shape(function, *args)
    except MISFITS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{failing}: {reason.rstrip('.')}. {advice}") from error

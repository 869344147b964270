"""What is trained and by which measure: the function of a network's parameters, its output and its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.kernel._base import Network
from ntkspec.losses import PointLoss, logistic, squared
from ntkspec.trainer._optimizer import build
from ntkspec.trainer._precision import products_in_bfloat16, scalar_in_bfloat16
from ntkspec.training import Optimizer, Training

__all__ = ["LEARNABLE", "PointLoss", "Recipe", "logistic", "raw", "squared"]


#: The fields of a Fourier mapping that can be learned along with the network.
LEARNABLE = ("amplitudes", "frequencies")


@dataclass(frozen=True)
class Recipe:
    """What a step does; numbers are elsewhere, so that another learning rate is the same program.

    Attributes:
        training: options that a step depends on; the others are as `Training` has them.
        rateless: whether the optimizer finds its own steps.
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
    def logits(self) -> bool:
        """Whether the loss is one of the network's output, sigmoid or not."""
        return self.training.of_logits

    @property
    def trainable(self) -> tuple[str, ...]:
        """Fields of the mapping that are learned."""
        return self.training.trainable

    @property
    def batch_size(self) -> int | None:
        """Points in a step; None is all."""
        return self.training.batch_size

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
        return self.point_loss(f if self.logits else self.output(f), y)

    def products(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with the requested precision of matrix products."""
        return products_in_bfloat16(function) if self.bfloat16 else function

    def scalar(self, function: Callable[[Any], Array]) -> Callable[[Any], Array]:
        """Return a loss with the asked matrix products, for those who differentiate it themselves."""
        return scalar_in_bfloat16(function) if self.bfloat16 else function

    def guess(self, f: Array) -> Array:
        """Return what is to be compared with the labels: the sigmoid of a logit, too."""
        return jax.nn.sigmoid(f) if self.sigmoid or self.logits else f


def raw(recipe: Recipe, network: Network, params: Any, inputs: Array, fixed: dict[str, Array]) -> Array:
    """Return the network's outputs, (point, channel).

    Args:
        recipe: says whether the mapping is learned.
        network: whose `apply` it is.
        params: of the network; with a learned mapping {"network": those, "mapping": its learned fields}.
        inputs: features γ(x) (point, feature), or the points x (point, axis) of a learned mapping.
        fixed: the fields of the mapping that are not learned.

    Returns:
        f, before any sigmoid.
    """
    if not recipe.trainable:
        return network.apply(params, inputs)
    return network.apply(params["network"], _features(inputs, **fixed, **params["mapping"]))


def _features(x: Array, amplitudes: Array, frequencies: Array) -> Array:
    """γ(x) as `FourierMapping` has it, in the precision of the parameters instead of float64."""
    turns = jnp.matmul(x, frequencies.T, precision="highest")
    phase = 2 * jnp.pi * (turns - jnp.round(turns))
    return jnp.concatenate([amplitudes * jnp.cos(phase), amplitudes * jnp.sin(phase)], axis=-1)

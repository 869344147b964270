"""What is trained and by which measure: the function of a network's parameters, its output and its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.kernel._base import Network
from ntkspec.kernel._composed import ComposedKernel
from ntkspec.losses import PointLoss, logistic, squared
from ntkspec.mapping import FourierMapping
from ntkspec.trainer._optimizer import Optimizer
from ntkspec.trainer._precision import products_in_bfloat16, scalar_in_bfloat16

__all__ = ["BUILT_IN", "LEARNABLE", "PointLoss", "Recipe", "logistic", "raw", "require_learnable", "squared"]

#: What `ntkspec.record.configuration` calls the losses that are known here; another function of the same short name is
#: another loss.
BUILT_IN = {
    "ntkspec.losses.squared": "squared",
    "ntkspec.losses.logistic": "logistic",
}

#: The fields of a Fourier mapping that can be learned along with the network.
LEARNABLE = ("amplitudes", "frequencies")


@dataclass(frozen=True)
class Recipe:
    """What a step does; numbers are elsewhere, so that another learning rate is the same program.

    Attributes:
        optimizer: how a gradient becomes a step.
        point_loss: ℓ(f, y) of one value.
        sigmoid: whether the function is the sigmoid of the network's output.
        logits: whether the loss is one of the network's output, sigmoid or not.
        trainable: fields of the mapping that are learned.
        batch_size: points in a step; None is all.
        bfloat16: whether float32 matrices are multiplied in bfloat16.
    """

    optimizer: Optimizer
    point_loss: PointLoss
    sigmoid: bool = False
    logits: bool = False
    trainable: tuple[str, ...] = ()
    batch_size: int | None = None
    bfloat16: bool = False

    def output(self, f: Array) -> Array:
        """The learned function, of the network's output f."""
        return jax.nn.sigmoid(f) if self.sigmoid else f

    def losses(self, f: Array, y: Array) -> Array:
        """ℓ of every value, of the network's output f."""
        return self.point_loss(f if self.logits else self.output(f), y)

    def products(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` with the asked matrix products."""
        return products_in_bfloat16(function) if self.bfloat16 else function

    def scalar(self, function: Callable[[Any], Array]) -> Callable[[Any], Array]:
        """A loss with the asked matrix products, for those who differentiate it themselves."""
        return scalar_in_bfloat16(function) if self.bfloat16 else function

    def guess(self, f: Array) -> Array:
        """What is to be compared with the labels: the sigmoid of a logit, too."""
        return jax.nn.sigmoid(f) if self.sigmoid or self.logits else f


def raw(recipe: Recipe, network: Network, params: Any, inputs: Array, fixed: dict[str, Array]) -> Array:
    """The network's outputs, (point, channel).

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


def require_learnable(k: ComposedKernel, trainable: tuple[str, ...]) -> None:
    """Refuse to learn what a mapping does not have.

    Raises:
        ValueError: if a field has an unknown name, or the mapping is no list of frequencies.
    """
    if unknown := sorted(set(trainable) - set(LEARNABLE)):
        raise ValueError(f"trainable={trainable!r} has {unknown}; expected of {LEARNABLE}, or () for a fixed mapping")
    if trainable and not isinstance(k.mapping, FourierMapping):
        raise ValueError(
            f"a {type(k.mapping).__name__} has no list of frequencies and amplitudes to learn; take a mapping such as "
            "ns.mapping.gaussian(...), or trainable=()"
        )

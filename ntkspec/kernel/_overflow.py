"""Kernels that have left the range of floating point: where it happened, and what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["is_false", "refuse_overflow"]


@runtime_checkable
class Layered(Protocol):
    """A network whose recursion can be followed layer by layer."""

    @property
    def W_std(self) -> Any:
        """Standard deviation of the weights."""

    def layers(self, q_x: Array, q_z: Array, versine: Array, fan_in: int) -> Iterator[tuple[Any, Array, Array]]:
        """Second moments, NTK and the layer's own part of it behind each Dense layer."""
        ...


def is_false(flag: Array) -> bool:
    """Whether a flag is known to be false: in a trace nothing is."""
    return not isinstance(flag, jax.core.Tracer) and not bool(flag)


def refuse_overflow(network: object, second: Array) -> NoReturn:
    """Say why a network's kernel is not finite.

    Args:
        network: whose kernel it is.
        second: the largest mean square |x|²/p among its inputs, a scalar.

    Raises:
        ValueError: always.
    """
    if not np.isfinite(second):
        raise ValueError("the inputs hold NaN or infinity, or squares beyond floating point; remove or rescale them")
    if isinstance(network, Layered):
        _refuse_layer(network, second)
    raise ValueError(
        f"the kernel is not finite for inputs of mean square {float(second):.3g}, though nothing is known to overflow "
        "in between layers: an expectation of an activation does; take smaller inputs, a smaller W_std or fewer layers"
    )


def _refuse_layer(network: Layered, second: Array) -> None:
    """Refuse the first layer whose variance or NTK is not finite, if there is one."""
    before, factor, steady = float(second), 1.0, False
    reach = getattr(getattr(network, "activation", None), "reach", np.inf)
    for layer, (pair, theta, _) in enumerate(network.layers(second, second, jnp.zeros(()), 1)):
        variance = float(pair.second_x)
        if not np.isfinite(variance) and layer and before > reach:
            raise ValueError(
                f"the pre-activations of hidden layer {layer} have a second moment of {before:.3g}, and the quadrature "
                f"of this activation meets its tolerance up to {reach:.3g} only; take smaller inputs or W_std "
                "(or an activation with a closed form, such as erf for tanh)"
            )
        if not np.isfinite(variance):
            # Variances that grow evenly are held by dividing W_std by the root of their factor.
            keep = f", or divide W_std={network.W_std} by about {factor**0.5:.3g} to hold it" if steady else ""
            raise ValueError(
                f"the variance of the pre-activations overflows in Dense layer {layer} (counted from 0): it is "
                f"{before:.3g} before, growing {factor:.3g} times a layer; take fewer layers{keep}, or smaller inputs"
            )
        if not np.isfinite(float(theta)):
            raise ValueError(
                f"the NTK overflows in Dense layer {layer} (counted from 0), where the variance of the pre-activations "
                f"is still {variance:.3g}; take fewer layers, a smaller W_std or (standard parametrization) width"
            )
        grown = variance / before if before > 0 else 1.0
        steady = layer > 1 and grown > 1 and abs(grown / factor - 1) < 0.1
        before, factor = variance, grown

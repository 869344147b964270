"""Kernels that have left the range of floating point: where it happened, and what to change."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def is_false(flag: Array) -> bool:
    """Whether a flag is known to be false: in a trace nothing is."""
    return not isinstance(flag, jax.core.Tracer) and not bool(flag)


def overflow(network: object, second: Array) -> ValueError:
    """Return the error that says why a network's kernel is not finite.

    Args:
        network: network, whose layers are followed where it has a method `layers`.
        second: the largest mean square |x|²/p among its inputs, a scalar.
    """
    if not np.isfinite(second):
        return ValueError("the inputs hold NaN or infinity, or squares beyond floating point; remove or rescale them")
    return ValueError(
        (_first_layer(network, second) if hasattr(network, "layers") else None)
        or f"the kernel is not finite for inputs of mean square {float(second):.3g}, though nothing is known to "
        "overflow in between layers: an expectation of an activation does; take smaller inputs, a smaller W_std or "
        "fewer layers"
    )


def _first_layer(network: object, second: Array) -> str | None:
    """Describe the first layer whose variance or NTK is not finite, if there is one."""
    before, factor, steady = float(second), 1.0, False
    reach = getattr(getattr(network, "activation", None), "reach", np.inf)
    for layer, (pair, theta, _) in enumerate(network.layers(second, second, jnp.zeros(()), 1)):  # type: ignore[attr-defined]  # the caller looked
        variance = float(pair.second_x)
        if not np.isfinite(variance) and layer and before > reach:
            return (
                f"the pre-activations of hidden layer {layer} have a second moment of {before:.3g}, and the quadrature "
                f"of this activation meets its tolerance up to {reach:.3g} only; take smaller inputs or W_std "
                "(or an activation with a closed form, such as erf for tanh)"
            )
        if not np.isfinite(variance):
            # Variances that grow evenly are held by dividing W_std by the root of their factor.
            W_std = getattr(network, "W_std", "")
            keep = f", or divide W_std={W_std} by about {factor**0.5:.3g} to hold it" if steady else ""
            return (
                f"the variance of the pre-activations overflows in Dense layer {layer} (counted from 0): it is "
                f"{before:.3g} before, growing {factor:.3g} times a layer; take fewer layers{keep}, or smaller inputs"
            )
        if not np.isfinite(float(theta)):
            return (
                f"the NTK overflows in Dense layer {layer} (counted from 0), where the variance of the pre-activations "
                f"is still {variance:.3g}; take fewer layers, a smaller W_std or (standard parametrization) width"
            )
        growth = variance / before if before > 0 else 1.0
        steady = layer > 1 and growth > 1 and abs(growth / factor - 1) < 0.1
        before, factor = variance, growth
    return None

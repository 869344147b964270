"""How networks start: as their kernel says, or as other people's code starts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from ntkspec.checks import Refused
from ntkspec.kernel._base import Network
from ntkspec.kernel._network import MLP, Parameters
from ntkspec.kernel.activation import Sin

__all__ = ["INITIALISATIONS", "Initialisation", "require_initialisation"]

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
    omega = network.activation.omega  # type: ignore[attr-defined]  # `require_initialisation` has seen it

    def draw(key: Array, name: str, shape: tuple[int, ...], layer: int) -> Array:
        if name == "b":
            reach: Any = params[layer]["w"].shape[0] ** -0.5
        else:
            reach = 1 / shape[0] if layer == 0 else (6 / shape[0]) ** 0.5 / omega
        return reach * jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

    return _redrawn(key, params, draw)


#: By name, for `train(init=...)`.
INITIALISATIONS: dict[str, Initialisation] = {"network": own, "glorot": glorot, "siren": siren}


def require_initialisation(init: str, network: Network) -> None:
    """Refuse an initialisation that belongs to another kind of network."""
    if init == "network":
        return
    if not isinstance(network, MLP) or network.parametrization != "standard":
        kind = "NTK parametrisation" if isinstance(network, MLP) else type(network).__name__
        raise Refused(
            f"init={init!r} draws the weights of layers y = w x + b, and this network ({kind}) has others; take an MLP "
            "with {parametrization}, or {init}",
            parametrization="standard",
            init="network",
        )
    if init == "siren" and not isinstance(network.activation, Sin):
        raise Refused(
            f"init='siren' belongs to sines, and the activation is {type(network.activation).__name__}; take an MLP "
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

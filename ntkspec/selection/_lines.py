"""A recommendation as lines of Python to paste: with ntkspec, with JAX alone, and with PyTorch."""

from __future__ import annotations

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec.kernel import MLP
from ntkspec.kernel.activation import name_of
from ntkspec.selection._search import Candidate

__all__ = ["jax_lines", "ntkspec_lines", "torch_lines"]

#: The data that the lines work on.
DATA = "# x: points, shape (n, d), coordinates in [0, 1) as the design had them; y: values there, shape (n, channels)"
#: Modules of JAX that hold activations, with those of PyTorch that hold the same ones by the same names.
MODULES = (("jax.nn", jax.nn, "torch.nn.functional"), ("jnp", jnp, "torch"), ("jax.lax", jax.lax, "torch"))


def ntkspec_lines(chosen: Candidate, dim: int, width: int, learning_rate: float, steps: int) -> str:
    """Lines that build the kernel and train the network with this package; x (n, d) and y (n,) or (n, channels)."""
    return f"""import ntkspec as ns

{DATA}
g = {chosen.family.call(*_recipe(chosen, dim))}
net = ns.kernel.MLP({_arguments(chosen.network)}, width={width})
k = ns.kernel.compose(g, net)
r = ns.trainer.train(k, x, y, steps=[0, {steps}], learning_rate={learning_rate:.6g})
"""


def jax_lines(chosen: Candidate, dim: int, width: int, learning_rate: float, steps: int) -> str | None:
    """Return the same in JAX alone; None for more than plain layers, or an activation with no name there."""
    activation = _elsewhere(chosen.network) if chosen.family.draw else None
    if activation is None:
        return None
    weight, bias, forward = _layer(
        chosen.network, "jax.random.normal(keys[2 * i], (p, q))", "jax.random.normal(keys[2 * i + 1], (q,))"
    )
    return f"""import jax, jax.numpy as jnp, numpy as np

{DATA}
{_drawn(chosen, dim)}
phi = {activation[0]}

def init(key, channels):
    sizes = [{_sizes(chosen, dim, width)}, channels]
    keys = jax.random.split(key, 2 * len(sizes))
    return [({weight}, {bias})
            for i, (p, q) in enumerate(zip(sizes, sizes[1:]))]

def network(params, x):
    turns = 2 * jnp.pi * x @ B.T
    h = jnp.concatenate([a * jnp.cos(turns), a * jnp.sin(turns)], axis=-1)
    for i, (w, b) in enumerate(params):
        h = {forward}
        h = phi(h) if i + 1 < len(params) else h
    return h

params = first = init(jax.random.key(0), y.shape[1])
start = network(first, x)
loss = lambda params, x, y: 0.5 * jnp.sum((network(params, x) - y) ** 2)

@jax.jit
def step(params, x, y):
    return jax.tree.map(lambda p, g: p - {learning_rate:.6g} * g, params, jax.grad(loss)(params, x, y))

for _ in range({steps}):
    params = step(params, x, start + y)  # what is learned is network(params, x) - network(first, x)
"""


def torch_lines(chosen: Candidate, dim: int, width: int, learning_rate: float, steps: int) -> str | None:
    """Return the same in PyTorch; None where `jax_lines` gives none."""
    activation = _elsewhere(chosen.network) if chosen.family.draw else None
    if activation is None:
        return None
    weight, bias, forward = _layer(chosen.network, "torch.randn(p, q)", "torch.randn(q)")
    return f"""import numpy as np, torch

{DATA}, both float32
{_drawn(chosen, dim)}
B, a = torch.tensor(B, dtype=torch.float32), torch.tensor(a, dtype=torch.float32)
phi = {activation[1]}
sizes = [{_sizes(chosen, dim, width)}, y.shape[1]]
params = [({weight}, {bias})
          for p, q in zip(sizes, sizes[1:])]
params = [tuple(one.clone().requires_grad_() for one in layer) for layer in params]

def network(x):
    turns = 2 * np.pi * x @ B.T
    h = torch.cat([a * turns.cos(), a * turns.sin()], dim=-1)
    for i, (w, b) in enumerate(params):
        h = {forward}
        h = phi(h) if i + 1 < len(params) else h
    return h

first = network(x).detach()
optimizer = torch.optim.SGD([one for layer in params for one in layer], lr={learning_rate:.6g})
for _ in range({steps}):
    optimizer.zero_grad()
    (0.5 * ((network(x) - first - y) ** 2).sum()).backward()
    optimizer.step()
"""


def _recipe(chosen: Candidate, dim: int) -> tuple[int, int, float, int]:
    return dim, chosen.num_frequencies, float(f"{chosen.value:.6g}"), chosen.seed


def _drawn(chosen: Candidate, dim: int) -> str:
    family = chosen.family
    return family.draw.format_map(family.arguments(family.options, *_recipe(chosen, dim)))


def _arguments(network: MLP) -> str:
    """All settings but those that have their defaults anyway."""
    name = name_of(network.activation)  # type: ignore[arg-type]  # a name has become an object
    activation = repr(name) if name else f"ns.kernel.{network.activation!r}"
    text = (
        f"depth={network.depth}, activation={activation}, W_std={_number(network.W_std)}, "
        f"b_std={_number(network.b_std)}, parametrization={network.parametrization!r}"
    )
    extra = [field for field in fields(MLP) if field.name in ("residual", "skip", "trained")]
    changed = {field.name: value for field in extra if (value := getattr(network, field.name)) != field.default}
    return text + "".join(f", {name}={value!r}" for name, value in changed.items())


def _elsewhere(network: MLP) -> tuple[str, str] | None:
    """Return the activation in JAX and in PyTorch; None where lines of plain, equal layers would be another network."""
    plain = not network.residual and network.skip is None and network.trained == "all"
    name = name_of(network.activation)  # type: ignore[arg-type]
    if not plain or np.ndim(network.W_std) or np.ndim(network.b_std) or name is None:
        return None
    if name == "gelu":
        # JAX's own is an approximation by default, and PyTorch's is not.
        return "lambda x: jax.nn.gelu(x, approximate=False)", "torch.nn.functional.gelu"
    name = "silu" if name == "swish" else name
    x = jnp.linspace(-3, 3, 31)
    for theirs, module, torch in MODULES:
        function = getattr(module, name, None)
        # PyTorch has no function that is the identity.
        if function is not None and name != "identity" and np.allclose(function(x), network.activation(x)):  # type: ignore[operator]
            return f"{theirs}.{name}", f"{torch}.{name}"
    return None


def _sizes(chosen: Candidate, dim: int, width: int) -> str:
    return ", ".join(map(str, [chosen.kernel(dim).mapping.num_features] + [width] * chosen.network.depth))


def _layer(network: MLP, of_weights: str, of_biases: str) -> tuple[str, str, str]:
    """Return the start of weights and of biases, and the forward pass of a Dense layer."""
    W_std, b_std = _number(network.W_std), _number(network.b_std)
    if network.parametrization == "ntk":
        return of_weights, of_biases, f"{W_std} / w.shape[0]**0.5 * h @ w + {b_std} * b"
    return f"{W_std} / p**0.5 * {of_weights}", f"{b_std} * {of_biases}", "h @ w + b"


def _number(value: object) -> str:
    """One number, or one for each layer."""
    values = np.asarray(value, dtype=float)
    return f"{float(values):.6g}" if values.ndim == 0 else f"({', '.join(f'{one:.6g}' for one in values)})"

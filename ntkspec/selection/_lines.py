"""A recommendation as lines of Python to paste: with ntkspec, with JAX alone, and with PyTorch."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from ntkspec.kernel import MLP
from ntkspec.kernel.activation import name_of
from ntkspec.selection._search import Candidate

__all__ = ["jax_lines", "ntkspec_lines", "torch_lines"]

#: What an activation is called elsewhere: in JAX, and in PyTorch.
ELSEWHERE = {
    "relu": ("jax.nn.relu", "torch.relu"),
    "erf": ("jax.lax.erf", "torch.erf"),
    "gelu": ("lambda x: jax.nn.gelu(x, approximate=False)", "torch.nn.functional.gelu"),
    "sin": ("jnp.sin", "torch.sin"),
    "cos": ("jnp.cos", "torch.cos"),
    "tanh": ("jnp.tanh", "torch.tanh"),
    "sigmoid": ("jax.nn.sigmoid", "torch.sigmoid"),
    "silu": ("jax.nn.silu", "torch.nn.functional.silu"),
    "swish": ("jax.nn.silu", "torch.nn.functional.silu"),
    "softplus": ("jax.nn.softplus", "torch.nn.functional.softplus"),
}
#: What the lines work on.
DATA = "# x: points, shape (n, d), coordinates in [0, 1) as the design had them; y: values there, shape (n, channels)"
#: How the frequencies of each family are drawn with NumPy: the same numbers as ntkspec's.
DRAW = {
    "gaussian": "np.random.default_rng({seed}).standard_normal(({m}, {d}))",
    "laplace": "np.random.default_rng({seed}).laplace(size=({m}, {d}))",
    "uniform": "np.random.default_rng({seed}).uniform(-1, 1, ({m}, {d}))",
}


def ntkspec_lines(chosen: Candidate, dim: int, width: int, learning_rate: float, steps: int) -> str:
    """Lines that build the kernel and train the network with this package; x (n, d) and y (n,) or (n, channels)."""
    name, m, scale = chosen.family.name, chosen.num_frequencies, f"{chosen.scale:.6g}"
    calls = {
        "positional": f"ns.mapping.positional({dim}, {m}, {scale}, normalize=False)",
        "power_law": f"ns.mapping.power_law({m}, p={scale})",
    }
    sampled = f"ns.mapping.{name}({dim}, {m}, scale={scale}, seed={chosen.seed}, normalize=False)"
    return f"""import ntkspec as ns

{DATA}
g = {calls.get(name, sampled)}
net = ns.kernel.MLP({_arguments(chosen.network)}, width={width})
k = ns.kernel.compose(g, net)
r = ns.trainer.train(k, x, y, steps=[0, {steps}], learning_rate={learning_rate:.6g})
"""


def jax_lines(chosen: Candidate, dim: int, width: int, learning_rate: float, steps: int) -> str | None:
    """Return the same in JAX alone.

    None for a network that is more than layers, or an activation with no name there.
    """
    activation = _elsewhere(chosen.network)
    if activation is None:
        return None
    weight, bias, forward = _layer(chosen.network)
    return f"""import jax, jax.numpy as jnp, numpy as np

{DATA}
{_frequencies(chosen, dim)}
phi = {activation[0]}

def init(key, channels):
    sizes = [{_features(chosen, dim)}, {", ".join([str(width)] * chosen.network.depth)}, channels]
    keys = jax.random.split(key, 2 * len(sizes))
    return [({weight.format(normal="jax.random.normal(keys[2 * i], (p, q))")}, {
        bias.format(normal="jax.random.normal(keys[2 * i + 1], (q,))")
    })
            for i, (p, q) in enumerate(zip(sizes, sizes[1:]))]

def network(params, x):
    turns = 2 * jnp.pi * x @ B.T
    h = jnp.concatenate([a * jnp.cos(turns), a * jnp.sin(turns)], axis=-1)
    for i, (w, b) in enumerate(params):
        h = {forward.format(fan_in="w.shape[0]")}
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
    activation = _elsewhere(chosen.network)
    if activation is None:
        return None
    weight, bias, forward = _layer(chosen.network)
    return f"""import numpy as np, torch

{DATA}, both float32
{_frequencies(chosen, dim)}
B, a = torch.tensor(B, dtype=torch.float32), torch.tensor(a, dtype=torch.float32)
phi = {activation[1]}
sizes = [{_features(chosen, dim)}, {", ".join([str(width)] * chosen.network.depth)}, y.shape[1]]
params = [({weight.format(normal="torch.randn(p, q)")}, {bias.format(normal="torch.randn(q)")})
          for p, q in zip(sizes, sizes[1:])]
params = [tuple(one.clone().requires_grad_() for one in layer) for layer in params]

def network(x):
    turns = 2 * np.pi * x @ B.T
    h = torch.cat([a * turns.cos(), a * turns.sin()], dim=-1)
    for i, (w, b) in enumerate(params):
        h = {forward.format(fan_in="w.shape[0]")}
        h = phi(h) if i + 1 < len(params) else h
    return h

first = network(x).detach()
optimizer = torch.optim.SGD([one for layer in params for one in layer], lr={learning_rate:.6g})
for _ in range({steps}):
    optimizer.zero_grad()
    (0.5 * ((network(x) - first - y) ** 2).sum()).backward()
    optimizer.step()
"""


def _activation(network: MLP) -> str:
    """Its name in quotes, or how it was made."""
    name = name_of(network.activation)  # type: ignore[arg-type]  # a name has become an object
    return repr(name) if name else f"ns.kernel.{network.activation!r}"


def _arguments(network: MLP) -> str:
    """All that is not as it would be anyway."""
    said = (
        f"depth={network.depth}, activation={_activation(network)}, W_std={_number(network.W_std)}, "
        f"b_std={_number(network.b_std)}, parametrization={network.parametrization!r}"
    )
    for field in fields(MLP):
        value = getattr(network, field.name)
        if field.name in ("residual", "skip", "trained") and value != field.default:
            said += f", {field.name}={value!r}"
    return said


def _elsewhere(network: MLP) -> tuple[str, str] | None:
    """Return the activation in JAX and in PyTorch; None where lines of plain, equal layers would be another network."""
    plain = not network.residual and network.skip is None and network.trained == "all"
    if not plain or np.ndim(network.W_std) or np.ndim(network.b_std):
        return None
    return ELSEWHERE.get(name_of(network.activation) or "")  # type: ignore[arg-type]


def _features(chosen: Candidate, dim: int) -> int:
    return chosen.kernel(dim).mapping.num_features


def _layer(network: MLP) -> tuple[str, str, str]:
    """Return the start of weights and of biases, and the forward pass of a Dense layer."""
    W_std, b_std = _number(network.W_std), _number(network.b_std)
    if network.parametrization == "ntk":
        return "{normal}", "{normal}", f"{W_std} / {{fan_in}}**0.5 * h @ w + {b_std} * b"
    return f"{W_std} / p**0.5 * {{normal}}", f"{b_std} * {{normal}}", "h @ w + b"


def _frequencies(chosen: Candidate, dim: int) -> str:
    """Lines that make B (m, d) and a (m,)."""
    name, m = chosen.family.name, chosen.num_frequencies
    if name in DRAW:
        draw = DRAW[name].format(seed=chosen.seed, m=m, d=dim)
        return f"B = {chosen.scale:.6g} * {draw}  # cycles per unit\na = np.ones({m})"
    if name == "positional":
        n = m // dim
        ladder = f"2.0 ** ({chosen.scale:.6g} * np.arange({n}) / {n - 1}) - 1"
        return f"B = np.kron(np.eye({dim}), ({ladder})[:, None])  # cycles per unit\na = np.ones({n * dim})"
    power = f"a = B[:, 0] ** -{chosen.scale:.6g}\na /= np.linalg.norm(a)"
    return f"B = np.arange(1.0, {m + 1})[:, None]  # cycles per unit\n{power}"


def _number(value: object) -> str:
    """One number, or one for each layer."""
    values = np.asarray(value, dtype=float)
    return f"{float(values):.6g}" if values.ndim == 0 else f"({', '.join(f'{one:.6g}' for one in values)})"

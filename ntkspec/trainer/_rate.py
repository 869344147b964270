"""The stability limit of a network's own tangent kernel, and the learning rate taken where none is given."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.recurrence import reorthogonalised
from ntkspec.trainer._ensemble import Problem
from ntkspec.trainer._model import Recipe, raw
from ntkspec.trainer._optimizer import usual_rate

#: Products of the tangent kernel: the residual of the largest eigenvalue is added to it, so few will do.
PRODUCTS = 16
#: Points among which the largest gradient is looked for.
LOOKED_AT = 32


def stable_rates(recipe: Recipe, problem: Problem, params: Any) -> np.ndarray:
    """Return the largest stable learning rate of each group's first network, as it is at its start.

    With J the Jacobian of the outputs, C the curvature of the loss in them (the largest of those at the start, at zero
    and at the labels) and λ the largest eigenvalue of C^½ J Jᵀ C^½, it is x/(sλ): x = 2 for gradient descent, s the
    loss's scale; infinity where nothing moves. Batches of b of n points add ν = (n − b)/(b (n − 1)) (n max_i (CJJᵀ)_ii
    − λ) to λ, from the variance of their gradient. Momentum β accumulates their noise, and adds ν x/(2 (1 − β)).

    Source: Lee et al. 2019, section 2.2; for batches compare Ma, Bassily & Belkin 2018, "The power of interpolation",
    theorem 4, for draws with repetition. With momentum: up to there the second moment of a mode whose eigenvalue has
    the mean λ and the variance λν does not grow, exactly so under heavy ball; for Nesterov's method it errs downwards,
    by half at most, for x/(sλ) is the limit without noise, and 2 (1 − β)/(sν) that of modes of small λ.
    """
    limit = recipe.optimizer.limit or 2.0
    remembered = limit / (2 * (1 - recipe.optimizer.momentum))
    with jax.default_matmul_precision("highest"):
        largest, noise = (np.asarray(part, dtype=float) for part in _curvature(recipe, problem, params))
    with np.errstate(divide="ignore"):
        return limit / ((largest + remembered * noise) * float(problem.scale))


def default_rates(recipe: Recipe, problem: Problem, params: Any) -> np.ndarray:
    """Half of the stable rate, to three digits; the optimizer's usual one where it has no such limit, (group,)."""
    groups = problem.inputs.shape[0]
    if not recipe.optimizer.takes_rate:
        return np.full(groups, np.nan)
    if recipe.optimizer.limit is None:
        usual = usual_rate(recipe.optimizer)
        return np.full(groups, np.nan if usual is None else usual)
    rates = stable_rates(recipe, problem, params) / 2
    if not np.isfinite(rates).all():
        why = (
            "the loss has no curvature, as |f - y| has none, or the outputs do not move with the parameters"
            if np.isinf(rates).any()
            else "the outputs are not finite, or the loss has a negative curvature"
        )
        advice = "give a learning_rate, or look at the mapping's amplitudes and at W_std"
        raise ValueError(f"there is no stability limit to take a learning rate from: {why}; {advice}")
    return np.array([rounded_down(rate) for rate in rates])


def rounded_down(rate: float) -> float:
    """To three digits, so that another machine's last digits give the same rate."""
    digits = 2 - math.floor(math.log10(rate))
    return round(math.floor(rate * 10.0**digits) * 10.0**-digits, digits)


@partial(jax.jit, static_argnames="recipe")
def _curvature(recipe: Recipe, problem: Problem, params: Any) -> tuple[Array, Array]:
    """λ and ν of each group."""
    pairs = []
    for group in range(problem.inputs.shape[0]):
        inputs, fixed = problem.inputs[group], {name: leaf[group] for name, leaf in problem.fixed.items()}
        first = jax.tree.map(lambda leaf: leaf[group, 0], params)  # noqa: B023  # used at once
        pairs.append(_of_one(recipe, problem, first, inputs, fixed, problem.start[group, 0]))
    largest, noise = zip(*pairs, strict=True)
    return jnp.stack(largest), jnp.stack(noise)


def _of_one(
    recipe: Recipe, problem: Problem, params: Any, inputs: Array, fixed: dict[str, Array], start: Array
) -> tuple[Array, Array]:
    labels = problem.labels

    def function(params: Any) -> Array:
        return raw(recipe, problem.network, params, inputs, fixed)

    f, push = jax.linearize(function, params)
    pull = jax.linear_transpose(push, params)
    # A loss like Huber's has none where labels are far, as at the start, and all of it once they are near.
    known = jnp.stack([*(_second(recipe, at, labels) for at in (f - start, jnp.zeros_like(f))), _near(recipe, labels)])
    # At a label itself it may be infinite, as that of |f − y|^1.5.
    curvature = jnp.max(jnp.where(jnp.isfinite(known), known, 0), axis=0)
    root = jnp.sqrt(curvature * problem.weights[:, None])

    def product(v: Array) -> Array:
        return root * push(pull(root * v)[0])

    largest = _largest_eigenvalue(product, root)
    n, b = labels.shape[0], recipe.training.batch_size
    if b is None or b == n:
        return largest, jnp.zeros_like(largest)

    def own(i: Array) -> Array:
        def of_channel(c: Array) -> Array:
            one = jnp.zeros_like(f).at[i, c].set(root[i, c])
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(pull(one)[0]))  # type: ignore[return-value]

        return jnp.max(jax.lax.map(of_channel, jnp.arange(f.shape[1])))

    diagonal = jnp.max(jax.lax.map(own, jnp.unique(jnp.linspace(0, n - 1, LOOKED_AT).astype(int), size=LOOKED_AT)))
    return largest, (n - b) / (b * max(n - 1, 1)) * jnp.maximum(n * diagonal - largest, 0)


def _second(recipe: Recipe, f: Array, labels: Array) -> Array:
    """Return the curvature of the loss, elementwise; of a loss of the sigmoid that part which is never negative."""
    if recipe.training.of_logits or not recipe.sigmoid:
        return jax.vmap(jax.vmap(jax.grad(jax.grad(recipe.losses))))(f, labels)
    bent = jax.vmap(jax.vmap(jax.grad(jax.grad(recipe.point_loss))))(recipe.output(f), labels)
    return bent * jax.vmap(jax.vmap(jax.grad(recipe.output)))(f) ** 2


def _near(recipe: Recipe, labels: Array) -> Array:
    """Return the curvature of the loss where the function is the labels; of one of the sigmoid no less than that."""
    if recipe.training.of_logits or not recipe.sigmoid:
        return _second(recipe, labels, labels)
    # A sigmoid's slope is a quarter at most, and none at labels of 0 and 1, which are met at infinity.
    return jax.vmap(jax.vmap(jax.grad(jax.grad(recipe.point_loss))))(labels, labels) / 16


def _largest_eigenvalue(product: Any, shape_of: Array) -> Array:
    """By Lanczos with full reorthogonalisation; the residual is added, so it errs upwards."""
    size, dtype = shape_of.size, shape_of.dtype
    # A kernel's top eigenvector is close to one sign; a little of everything else is mixed in.
    start = 1 + 0.5 * jax.random.uniform(jax.random.key(0), (size,), dtype=dtype)
    alpha, beta = reorthogonalised(lambda v: product(v.reshape(shape_of.shape)).ravel(), start, min(PRODUCTS, size))
    values, vectors = jnp.linalg.eigh(jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1))
    return values[-1] + jnp.abs(beta[-1] * vectors[-1, -1])

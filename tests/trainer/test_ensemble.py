"""The program of an ensemble: compiled once, and in the memory it was given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec import limits
from ntkspec.trainer._ensemble import advance, begin, outputs

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])
K = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=8))


def begun(**settings):
    training = ns.trainer.Training(**settings)
    plan = ns.trainer.plan(K, X, Y, steps=[1], training=training, learning_rate=0.01, seeds=2)
    params = plan.params(0, 2)
    problem = plan.problem(params, 0)
    return plan, problem, begin(plan.recipe, problem, params)


@pytest.mark.parametrize("optimizer", ["gradient_descent", "nesterov", "adam"])
def test_a_step_gives_back_the_types_it_took(optimizer):
    plan, problem, state = begun(optimizer=optimizer)
    before = jax.tree.map(lambda leaf: leaf.aval, state)
    after = jax.tree.map(lambda leaf: leaf.aval, advance(plan.recipe, problem, state, jnp.asarray(0), jnp.asarray(2)))
    # Weak types too: any other would compile the program again for the second stretch.
    assert [(a.shape, a.dtype, a.weak_type) for a in jax.tree.leaves(after)] == [
        (a.shape, a.dtype, a.weak_type) for a in jax.tree.leaves(before)
    ]


def test_the_memory_of_a_state_is_used_again():
    plan, problem, state = begun()
    advance(plan.recipe, problem, state, jnp.asarray(0), jnp.asarray(1))
    assert state.params[0]["w"].is_deleted()


@pytest.mark.parametrize("together", [3, 4, 5])
def test_outputs_of_many_points_are_made_in_parts(together):
    plan, problem, state = begun()
    arguments = (plan.recipe, K.network, state.params, problem.inputs, {})
    whole = outputs(*arguments)
    with limits.limited(side_by_side=2 * together * 64):
        np.testing.assert_allclose(outputs(*arguments), whole, rtol=0, atol=1e-6)


def test_a_rate_is_no_part_of_the_program():
    plan, problem, state = begun()
    start = advance._cache_size()
    for rate in (0.01, 0.02):
        changed = problem._replace(rate=jnp.asarray([rate], dtype=problem.rate.dtype))
        state = advance(plan.recipe, changed, state, jnp.asarray(0), jnp.asarray(1))
    assert advance._cache_size() <= start + 1

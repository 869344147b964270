"""Networks in turn on the cores of a processor: the numbers of networks side by side, from one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec import limits
from ntkspec.trainer import _devices as cores
from ntkspec.trainer._devices import SMALL, Cores, takes_turns, threads_for

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])
STEPS = [0, 2, 7]


@pytest.fixture(scope="module")
def k():
    return ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"seeds": 5},
        {"seeds": 3, "optimizer": "adam", "batch_size": 4, "learning_rate": 0.01},
        # Draws of its own in its memory.
        {"seeds": 2, "optimizer": "noisy_sgd", "learning_rate": 0.01},
        {"seeds": 4, "schedule": ns.dynamics.piecewise({0: 1.0, 3: 0.5})},
        {"seeds": 2, "optimizer": "lbfgs"},
        # Leaves without a number in its memory.
        {"seeds": 3, "optimizer": "contrib.galore(rank=4)"},
    ],
    ids=lambda options: options.get("optimizer", "descent"),
)
def test_in_turn_and_side_by_side_are_the_same(k, options, threads):
    options = {"steps": STEPS, "dtype": "float64", **options}
    with limits.limited(threads=threads):
        in_turn = ns.trainer.train(k, X, Y, **options)
    with limits.limited(threads=0):
        side_by_side = ns.trainer.train(k, X, Y, **options)
    # L-BFGS has none, and NaN is not itself.
    np.testing.assert_equal(in_turn.attrs, side_by_side.attrs)
    # Sums in another order.
    np.testing.assert_allclose(in_turn.train, side_by_side.train, rtol=0, atol=1e-12)
    np.testing.assert_allclose(in_turn.loss, side_by_side.loss, rtol=1e-10)


@pytest.mark.parametrize(
    ("networks", "threads", "size", "firsts"),
    [
        (16, 2, 8, (0, 8)),
        # One is trained twice, at the same time.
        (3, 2, 2, (0, 1)),
        (9, 8, 2, (0, 2, 4, 6, 7)),
        (2, 8, 1, (0, 1)),
        (5, 1, 5, (0,)),
    ],
)
def test_parts_are_of_one_size(networks, threads, size, firsts):
    found = Cores(jax.devices()[0], networks, threads)
    assert (found.size, found.firsts) == (size, firsts)


def test_parts_that_overlap_are_joined_to_the_whole():
    numbers = jnp.arange(9.0).reshape(3, 3)
    state = cores.State({"w": numbers[..., None] * jnp.ones(2)}, (), numbers, numbers, numbers)
    firsts = (0, 2, 4, 6, 7)
    parts = cores._apart(state, firsts, 2)
    np.testing.assert_array_equal(parts[3].loss, [6, 7])
    joined = cores._joined(parts, firsts, (3, 3))
    jax.tree.map(np.testing.assert_array_equal, joined, state)


def test_all_threads_share_one_program(k):
    before = cores._advance_part._cache_size()
    # Of points that no other test has, and so of a program of their own.
    for steps in (STEPS, [0, 30]):
        with limits.limited(threads=3):
            ns.trainer.train(k, X[:7], Y[:7], steps=steps, seeds=7)
        assert cores._advance_part._cache_size() == before + 1


def test_a_network_in_a_thread_that_diverges_stops_the_run(k):
    with (
        limits.limited(threads=2),
        pytest.raises(FloatingPointError, match="take a learning rate below the stability limit"),
    ):
        ns.trainer.train(k, X, Y, steps=[500], seeds=4, learning_rate=5.0)


def test_who_takes_turns():
    here = jax.devices()[:1]
    assert takes_turns(here, 2)
    assert not takes_turns(here, 1)
    assert not takes_turns(here * 2, 2)


def test_large_networks_share_all_cores():
    with limits.limited(threads=6):
        assert threads_for(SMALL) == 6
        assert threads_for(SMALL + 1) == 1

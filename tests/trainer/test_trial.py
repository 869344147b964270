"""Optimizers and losses tried on a few numbers: what cannot take a step, and what only shares a name."""

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec.trainer._model import Recipe, squared
from ntkspec.trainer._optimizer import as_optimizer
from ntkspec.trainer._trial import behaviour

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])


@pytest.fixture(scope="module")
def k():
    return ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))


def absolute(power):
    def loss(f, y):
        return abs(f - y) ** power

    return loss


def halved_at(step):
    return optax.sgd(optax.piecewise_constant_schedule(1e-2, {step: 0.5}))


@pytest.mark.parametrize(
    ("name", "before", "after", "last"),
    [
        ("optimizer", optax.adam(1e-2), optax.adam(1e-1), 4),
        ("optimizer", halved_at(1000), halved_at(150), 151),
        ("point_loss", absolute(2), absolute(4), 4),
    ],
)
def test_things_of_one_name_are_told_apart_by_what_they_do(name, before, after, last, k, tmp_path):
    options = {"steps": [0, last], "learning_rate": None if name == "optimizer" else 1e-3, "seeds": 1}
    options["checkpoint"] = tmp_path
    r = ns.trainer.train(k, X, Y, **options, **{name: before})
    with pytest.raises(ValueError, match=f"another run: .*its {name} has the same name and does something else"):
        ns.trainer.train(k, X, Y, resume=True, **options, **{name: after})
    xr.testing.assert_identical(ns.trainer.train(k, X, Y, resume=True, **options, **{name: before}), r)


def test_what_an_optimizer_does_after_a_checkpoint_may_change(k, tmp_path):
    ns.trainer.train(k, X, Y, steps=[0, 150], seeds=1, optimizer=halved_at(1000), checkpoint=tmp_path)
    options = {"steps": [0, 150, 160], "seeds": 1, "optimizer": halved_at(150)}
    r = ns.trainer.train(k, X, Y, checkpoint=tmp_path, resume=True, **options)
    xr.testing.assert_identical(r, ns.trainer.train(k, X, Y, **options))


@pytest.mark.parametrize("changes", [{500: 0.5}, {500: 0.5, 501: 2.0}, {1999: 0.5}])
def test_a_step_of_another_length_is_seen_however_long_ago(changes):
    def told(optimizer, step=2000):
        return behaviour(Recipe(as_optimizer(optimizer), squared), step)["optimizer"]

    plain, other = optax.sgd(0.1), optax.sgd(optax.piecewise_constant_schedule(0.1, changes))
    assert told(plain) != told(other)
    assert told(plain, min(changes)) == told(other, min(changes))
    # Looked at in between, or again at an earlier step: the same.
    found = [told(optax.sgd(0.1), step) for step in (7, 2000, 7)]
    assert found == [told(plain, 7), told(plain), told(plain, 7)]


def test_what_cannot_be_told_apart_does_not_go_on(k, tmp_path):
    def of_a_list(updates, params):
        assert isinstance(updates, list | tuple)
        return jax.tree.map(lambda g: -1e-3 * g, updates)

    options = {"steps": [0, 4], "seeds": 1, "checkpoint": tmp_path, "optimizer": optax.stateless(of_a_list)}
    ns.trainer.train(k, X, Y, **options)
    with pytest.raises(ValueError, match="a name of its optimizer and no more, so that it cannot be told"):
        ns.trainer.train(k, X, Y, resume=True, **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("contrib.sophia", "contrib.sophia cannot take a step: obj_fn must be provided"),
        (optax.contrib.sophia(1e-3), "cannot take a step: obj_fn must be provided"),
        ('adam(b1="a")', r"optimizer adam\(b1='a'\) cannot take a step"),
        (optax.stateless(lambda updates, params: 1 // 0), "cannot take a step: integer division or modulo by zero"),
        ('heavy_ball(momentum="a")', "momentum='a'; expected a number in"),
    ],
)
def test_what_cannot_take_a_step_is_refused_in_words(given, message, k):
    with pytest.raises(ValueError, match=message):
        ns.trainer.require_trainable(k, X, Y, steps=[1], optimizer=given)

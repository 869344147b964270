"""What training did otherwise than its prediction."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec.dynamics import cosine, gradient_flow, heavy_ball, nesterov, piecewise, ridge, schedule
from ntkspec.record import attributes, configuration
from ntkspec.trainer import Training
from ntkspec.validation._differences import differences
from ntkspec.validation._prose import difference

LAST = 10


def records(dynamics=None, *, of_training=None, factors=(1.0,), **options):
    """Differences of a training from a prediction at step 10, the training's schedule recorded by its factors."""
    training = Training(**options, **({} if of_training is None else {"schedule": of_training}))
    shared = xr.Dataset({"train": (("step", "point"), np.zeros((2, 8)))}, {"step": [0, LAST]})
    p = shared.assign_attrs({} if dynamics is None else attributes(dynamics=dynamics))
    kept = "" if np.all(np.asarray(factors) == 1) else json.dumps(configuration(np.asarray(factors)))
    return list(differences(p, shared.assign_attrs(training=training.to_json(), schedule=kept)))


@pytest.mark.parametrize(
    ("dynamics", "optimizer"),
    [
        (None, "gradient_descent"),
        (ns.dynamics.gradient_descent(), "gradient_descent"),
        (heavy_ball(0.9), "heavy_ball"),
        (heavy_ball(0.5), "heavy_ball(momentum=0.5)"),
        (nesterov(0.9), "nesterov"),
        (heavy_ball(0.0), "gradient_descent"),
        (nesterov(0.0), "heavy_ball(momentum=0.0)"),
    ],
)
def test_an_optimizer_that_is_predicted_is_no_difference(dynamics, optimizer):
    assert records(dynamics, optimizer=optimizer) == []


@pytest.mark.parametrize(
    ("dynamics", "optimizer", "found"),
    [
        (None, "heavy_ball", ("optimizer", "heavy_ball", "gradient_descent")),
        (None, "nesterov(momentum=0.5)", ("optimizer", "nesterov(momentum=0.5)", "gradient_descent")),
        (heavy_ball(0.9), "gradient_descent", ("optimizer", "gradient_descent", "heavy_ball(momentum=0.9)")),
        (heavy_ball(0.5), "heavy_ball", ("optimizer", "heavy_ball", "heavy_ball(momentum=0.5)")),
        (nesterov(0.9), "heavy_ball", ("optimizer", "heavy_ball", "nesterov(momentum=0.9)")),
        (schedule([1.0]), "heavy_ball", ("optimizer", "heavy_ball", "gradient_descent")),
        (gradient_flow(), "gradient_descent", ("flow", False, True)),
        (ridge(0.1), "gradient_descent", ("dynamics", "gradient_descent", "Ridge")),
        (heavy_ball(0.9), "adam", ("optimizer", "adam", None)),
    ],
)
def test_another_kind_of_step_is_one_difference(dynamics, optimizer, found):
    assert records(dynamics, optimizer=optimizer) == [found]


def test_momentum_is_a_difference_from_a_flow():
    assert [record.field for record in records(gradient_flow(), optimizer="heavy_ball")] == ["flow", "optimizer"]


@pytest.mark.parametrize(
    ("dynamics", "of_training", "factors"),
    [
        (cosine(LAST), cosine(LAST), cosine(LAST).factors),
        (cosine(400), cosine(400), cosine(400).factors),
        # As a function of the step leaves it: of the steps trained, in float32.
        (
            cosine(20),
            lambda step: jnp.cos(jnp.pi * step / 40) ** 2,
            cosine(20).factors[:LAST].astype(np.float32).astype(float),
        ),
        (schedule([1.0]), None, [1.0]),
        (schedule([0.5]), schedule([0.5]), [0.5]),
        (piecewise({0: 1.0, 5: 1.0}), None, [1.0, 1.0]),
        # The change comes after the steps compared.
        (piecewise({0: 1.0, LAST: 0.1}), None, [1.0]),
    ],
    ids=["same", "same digest", "function", "constant", "halved", "constant in parts", "later"],
)
def test_a_schedule_that_is_predicted_is_no_difference(dynamics, of_training, factors):
    assert records(dynamics, of_training=of_training, factors=factors) == []


@pytest.mark.parametrize(
    ("dynamics", "of_training", "mine", "theirs"),
    [
        (None, piecewise({0: 1.0, 5: 0.5}), "schedule", "constant"),
        (heavy_ball(0.9), cosine(400), "schedule", "constant"),
        (cosine(LAST), None, "constant", "schedule"),
        (cosine(400), None, "constant", None),
        (cosine(LAST), cosine(20), "schedule", "schedule"),
        (cosine(20), cosine(LAST), "schedule", "schedule"),
        (piecewise({0: 1.0, 5: 0.1}), piecewise({0: 1.0, 5: 0.2}), "schedule", "schedule"),
        (cosine(400), cosine(500), "schedule", None),
        (cosine(LAST), cosine(400), "schedule", "schedule"),
        (schedule([0.5]), None, "constant", "schedule"),
    ],
)
def test_another_schedule_is_a_difference(dynamics, of_training, mine, theirs):
    optimizer = "heavy_ball" if dynamics == heavy_ball(0.9) else "gradient_descent"
    assert records(dynamics, of_training=of_training, optimizer=optimizer) == [("schedule", mine, theirs)]


def test_a_function_whose_factors_are_not_known_is_said_to_be():
    found = records(cosine(LAST), of_training=lambda step: 0.5**step, factors=np.linspace(0.1, 1, 100))
    assert found == [("schedule", "schedule", None)]
    assert "too long to be compared" in difference(found[0])


def test_a_verdict_names_them():
    shape, x = ("seed", "step", "point"), np.arange(4.0)[:, None] / 4
    common = {"learning_rate": 0.1, "loss": "sum", "starts_from_zero": 1}
    both = xr.Dataset({"target": ("point", np.ones(4))}, {"step": [0, LAST], "x": (("point", "axis"), x)})
    p = both.assign(train=(shape[1:], np.outer([0, 1], np.ones(4)))).assign_attrs(
        common, **attributes(dynamics=cosine(4))
    )
    r = both.assign(train=(shape, np.stack([p.train] * 3)))
    training = Training(optimizer="heavy_ball").to_json()
    r = r.assign_attrs(common, **attributes(), width=8, dtype="float64", training=training, schedule="")
    v = ns.validate(p, r)
    found = differences(p, r)
    assert [record.field for record in found] == ["optimizer", "schedule"]
    assert [record["field"] for record in json.loads(v.attrs["remarks"])] == ["optimizer", "schedule"]
    for record in found:
        assert difference(record) in v.attrs["verdict"]

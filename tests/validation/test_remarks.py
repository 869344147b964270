"""What training did otherwise than its prediction, told from the attributes of both."""

import json

import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec.dynamics import cosine, gradient_flow, heavy_ball, nesterov, piecewise, ridge, schedule
from ntkspec.record import attributes, configuration
from ntkspec.validation._words import remarks

LAST = 10


def told(dynamics=None, *, optimizer="gradient_descent", of_training=None, **attrs):
    """Remarks on a training of 8 points with a schedule's factors, up to step 10."""
    predicted = {"learning_rate": 0.1} | ({} if dynamics is None else attributes(dynamics=dynamics))
    factors = [1.0] if of_training is None else of_training
    trained = {
        "learning_rate": 0.1,
        "optimizer": optimizer,
        "optimizer_has_theory": int(optimizer != "adam"),
        "schedule": "" if np.all(np.asarray(factors) == 1) else json.dumps(configuration(np.asarray(factors))),
        **attrs,
    }
    return remarks(predicted, trained, 8, LAST)


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
def test_nothing_is_said_of_an_optimizer_that_is_predicted(dynamics, optimizer):
    assert told(dynamics, optimizer=optimizer) == []


@pytest.mark.parametrize(
    ("dynamics", "optimizer", "said"),
    [
        (None, "heavy_ball", "training was by heavy_ball, the prediction is of gradient descent"),
        (None, "nesterov(momentum=0.5)", "training was by nesterov(momentum=0.5), the prediction is of gradient"),
        (heavy_ball(0.9), "gradient_descent", "by gradient descent, the prediction is of heavy_ball(momentum=0.9)"),
        (heavy_ball(0.5), "heavy_ball", "training was by heavy_ball, the prediction is of heavy_ball(momentum=0.5)"),
        (nesterov(0.9), "heavy_ball", "training was by heavy_ball, the prediction is of nesterov(momentum=0.9)"),
        (schedule([1.0]), "heavy_ball", "training was by heavy_ball, the prediction is of gradient descent"),
        (gradient_flow(), "gradient_descent", "the prediction is a flow, and training takes steps"),
        (gradient_flow(), "heavy_ball", "heavy_ball has momentum, and the flow has none"),
        (ridge(0.1), "gradient_descent", "the prediction is of Ridge, which training does not know"),
    ],
)
def test_another_kind_of_step_is_said(dynamics, optimizer, said):
    assert said in told(dynamics, optimizer=optimizer)[-1]


def test_adam_is_said_to_have_no_theory_and_no_more():
    assert len(told(heavy_ball(0.9), optimizer="adam")) == 1


@pytest.mark.parametrize(
    ("dynamics", "factors"),
    [
        (cosine(LAST), cosine(LAST).factors),
        (cosine(400), cosine(400).factors),
        # As a function of the step leaves it: of the steps trained, in float32.
        (cosine(20), cosine(20).factors[:LAST].astype(np.float32).astype(float)),
        (schedule([1.0]), [1.0]),
        (schedule([0.5]), [0.5]),
        (piecewise({0: 1.0, 5: 1.0}), [1.0, 1.0]),
        # The change comes after what is compared.
        (piecewise({0: 1.0, LAST: 0.1}), [1.0]),
    ],
    ids=["same", "same digest", "function", "constant", "halved", "constant in parts", "later"],
)
def test_nothing_is_said_of_a_schedule_that_is_predicted(dynamics, factors):
    assert told(dynamics, of_training=factors) == []


@pytest.mark.parametrize(
    ("dynamics", "factors", "said"),
    [
        (None, [1.0, 0.5], "the learning rate followed a schedule, the prediction's is constant"),
        (heavy_ball(0.9), cosine(400).factors, "the learning rate followed a schedule, the prediction's is constant"),
        (cosine(LAST), [1.0], "the prediction has a schedule, the learning rate of training was constant"),
        (cosine(400), [1.0], "the prediction has a schedule, the learning rate of training was constant"),
        (cosine(LAST), cosine(20).factors, "the learning rate followed another schedule"),
        (cosine(20), cosine(LAST).factors, "the learning rate followed another schedule"),
        (piecewise({0: 1.0, 5: 0.1}), [1.0, 0.2], "the learning rate followed another schedule"),
        (cosine(400), cosine(500).factors, "cannot be told from their attributes"),
        (cosine(400), [1.0, 0.5], "cannot be told from their attributes"),
        (cosine(LAST), cosine(400).factors, "cannot be told from their attributes"),
        # Factors of training that are all one are not recorded.
        (schedule([0.5]), [1.0], "the prediction has a schedule, the learning rate of training was constant"),
    ],
)
def test_another_schedule_is_said(dynamics, factors, said):
    found = told(
        dynamics, optimizer="heavy_ball" if dynamics == heavy_ball(0.9) else "gradient_descent", of_training=factors
    )
    assert len(found) == 1
    assert said in found[0]


def test_coarse_products_are_said():
    assert "training multiplied in bfloat16" in told(matmul_precision="bfloat16")[0]
    assert told(matmul_precision="float32") == []


def test_a_verdict_ends_with_them():
    shape, x = ("seed", "step", "point"), np.arange(4.0)[:, None] / 4
    common = {"learning_rate": 0.1, "loss": "sum", "starts_from_zero": 1}
    both = xr.Dataset({"target": ("point", np.ones(4))}, {"step": [0, LAST], "x": (("point", "axis"), x)})
    p = both.assign(train=(shape[1:], np.outer([0, 1], np.ones(4)))).assign_attrs(
        common, **attributes(dynamics=cosine(4))
    )
    r = both.assign(train=(shape, np.stack([p.train] * 3)))
    r = r.assign_attrs(common, **attributes(), width=8, dtype="float64", optimizer="heavy_ball")
    v = ns.validate(p, r)
    assert v.attrs["verdict"].endswith(f"Note: {v.attrs['remarks']}.")
    assert [one.split()[0] for one in v.attrs["remarks"].split("; ")] == ["training", "the"]

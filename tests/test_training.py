"""How a run is trained, as one record: to text and back, and what it does otherwise than others."""

import json

import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.training import Difference, Optimizer, Training

X = np.arange(8)[:, None] / 8
Y = 0.5 + 0.4 * np.sin(2 * np.pi * X[:, 0])

NUMBERS = st.floats(0, 1, exclude_max=True)
OPTIMIZERS = st.one_of(
    st.just("gradient_descent"),
    st.builds("heavy_ball(momentum={})".format, NUMBERS),
    st.builds(ns.trainer.optimizer, st.just("nesterov"), momentum=NUMBERS),
    st.builds(ns.trainer.optimizer, st.just("adam"), b1=NUMBERS, nesterov=st.booleans()),
    st.sampled_from(["lbfgs", "contrib.muon", "sgd(momentum=0.5, nesterov=True)", "lion"]),
)
FACTORS = st.lists(st.floats(0.1, 2), min_size=1, max_size=80)
SCHEDULES = st.one_of(
    st.sampled_from([None, "constant", "cosine"]),
    st.builds(ns.dynamics.schedule, FACTORS),
    st.builds(lambda factors: tuple((3 * i, c) for i, c in enumerate(factors)), FACTORS),
)
CONSISTENT = st.sampled_from([("float32", "float32"), ("float32", "bfloat16"), ("float64", "float32")])


@st.composite
def trainings(draw):
    dtype, products = draw(CONSISTENT)
    return Training(
        optimizer=draw(OPTIMIZERS),
        loss=draw(st.sampled_from(["sum", "mean", "logistic"])),
        output=draw(st.sampled_from(["linear", "sigmoid"])),
        init=draw(st.sampled_from(["network", "glorot", "siren"])),
        centered=draw(st.booleans()),
        trainable=draw(st.sets(st.sampled_from(["amplitudes", "frequencies"]))),
        batch_size=draw(st.none() | st.integers(1, 10**6)),
        gradient_clip=draw(st.none() | st.floats(1e-3, 1e3)),
        schedule=draw(SCHEDULES),
        dtype=dtype,
        matmul_precision=products,
    )


@given(trainings())
def test_text_holds_all_of_it(training):
    again = Training.from_json(training.to_json())
    assert again == training
    assert hash(again) == hash(training)
    assert training.unlike(again) == []


def absolute(f, y):
    return abs(f - y)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": optax.adam(0.1)},
        {"optimizer": ns.trainer.optimizer("adamw", mask=absolute)},
        {"point_loss": absolute},
        {"point_loss": ns.dynamics.huber(0.1)},
        {"schedule": lambda step: 0.5},
        {"schedule": ns.dynamics.cosine(5000)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_text_cannot_hold_is_asked_for(options):
    training, name = Training(batch_size=4, **options), next(iter(options))
    with pytest.raises(ValueError, match=rf"text cannot hold the run's {name} \(.*\); give {name}="):
        Training.from_json(training.to_json())
    assert Training.from_json(training.to_json(), **options) == training


def test_what_is_the_same_is_equal():
    assert Training(schedule=None) == Training(schedule=ns.dynamics.schedule([1.0])) == Training()
    assert Training(point_loss=ns.dynamics.logistic) == Training(loss="logistic")
    assert Training(trainable=["frequencies", "amplitudes"]) == Training(trainable=("amplitudes", "frequencies"))
    assert Optimizer.of("sgd(momentum=0.5)") == ns.trainer.optimizer("heavy_ball", momentum=0.5)


def test_the_result_remembers_it():
    k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16))
    training = Training(optimizer="adam(b1=0.8)", schedule=ns.dynamics.piecewise({0: 1.0, 1: 0.5}), batch_size=4)
    r = ns.trainer.train(k, X, Y, steps=[0, 2], seeds=1, training=training, dtype="float64")
    found = Training.from_json(r.attrs["training"])
    assert found.unlike(training) == [Difference("dtype", "float64", "float32")]
    again = ns.trainer.train(k, X, Y, steps=[0, 2], seeds=1, training=found)
    np.testing.assert_array_equal(r.train, again.train)


@pytest.fixture(scope="module")
def K():
    return ns.operator.lattice(ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(depth=1)), (8,))


@pytest.mark.parametrize(
    ("dynamics", "options", "fields"),
    [
        (None, {}, []),
        (ns.dynamics.heavy_ball(0.9), {"optimizer": "heavy_ball"}, []),
        (ns.dynamics.heavy_ball(0.5), {"optimizer": "heavy_ball"}, ["optimizer"]),
        (ns.dynamics.heavy_ball(0.0), {}, []),
        (ns.dynamics.gradient_flow(), {"optimizer": "nesterov"}, ["flow", "optimizer"]),
        (ns.dynamics.ridge(0.1), {}, ["dynamics"]),
        (ns.dynamics.cosine(20), {"schedule": "cosine"}, []),
        (ns.dynamics.cosine(400), {"schedule": ns.dynamics.cosine(400)}, []),
        (ns.dynamics.cosine(20), {"schedule": optax.cosine_decay_schedule(1.0, 20)}, []),
        (ns.dynamics.piecewise({0: 1.0, 20: 0.1}), {}, []),
        (ns.dynamics.cosine(20), {}, ["schedule"]),
        (None, {"schedule": "cosine"}, ["schedule"]),
        (None, {"optimizer": "adam", "output": "sigmoid", "loss": "logistic"}, ["optimizer", "point_loss", "output"]),
        (
            None,
            {"batch_size": 4, "init": "siren", "trainable": ("amplitudes",), "matmul_precision": "bfloat16"},
            ["init", "trainable", "batch_size", "matmul_precision"],
        ),
        (None, {"batch_size": 8, "dtype": "float64", "centered": False, "loss": "mean"}, []),
    ],
)
def test_what_theory_does_otherwise(dynamics, options, fields, K):
    p = ns.predict(K, Y, steps=[0, 20], learning_rate=0.1, dynamics=dynamics)
    assert [one.field for one in Training(**options).unlike(p)] == fields


def test_a_flow_of_another_loss_is_told_from_it(K):
    options = {"steps": [0, 2], "learning_rate": 0.1}
    p = ns.dynamics.function_space_flow(K, Y, point_loss=ns.dynamics.logistic, **options)
    assert [one.field for one in Training(loss="logistic").unlike(p)] == ["flow"]
    assert Training().unlike(p)[1] == Difference("point_loss", "squared", "logistic")


def test_optimizers_are_facts():
    theirs = Training(optimizer="adam").unlike(Training())[0]
    assert theirs == Difference("optimizer", Optimizer.of("adam"), Optimizer.of("gradient_descent"))
    assert json.loads(Training(optimizer="adam(b1=0.8)").to_json())["optimizer"]["settings"] == {"b1": 0.8}

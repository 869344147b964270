"""Every dynamics is described in JSON and rebuilt from that."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.dynamics import (
    Dynamics,
    Schedule,
    damped_power,
    describe,
    from_description,
    gradient_descent,
    gradient_flow,
    heavy_ball,
    nesterov,
    piecewise,
    preconditioned,
    ridge,
    schedule,
)

BETA = st.floats(0, 0.999)
POSITIVE = st.floats(1e-300, 1e300)
FACTORS = st.lists(st.floats(0, 1e3), min_size=1, max_size=40).filter(any)
PLAIN = st.one_of(
    st.builds(gradient_flow),
    st.builds(gradient_descent),
    st.builds(heavy_ball, BETA),
    st.builds(nesterov, BETA),
    st.builds(schedule, FACTORS),
    st.builds(lambda later: piecewise({0: 1.0, **later}), st.dictionaries(st.integers(1, 2**53), st.floats(0, 9))),
)
DECAYED = st.one_of(PLAIN, st.recursive(PLAIN, lambda base: st.builds(ridge, POSITIVE, base), max_leaves=3))
EVERY = st.one_of(
    DECAYED, st.builds(preconditioned, st.builds(damped_power, st.floats(0, 1), st.floats(1e-3, 1e3)), DECAYED)
)


def kept(dynamics):
    return json.loads(json.dumps(describe(dynamics)))


@given(dynamics=EVERY, unit=st.sampled_from([None, 0.3]))
def test_every_dynamics_is_rebuilt_from_its_description(dynamics, unit):
    dynamics = dynamics if unit is None else dynamics.at(unit)
    found = from_description(kept(dynamics))
    assert found == dynamics
    assert type(found) is type(dynamics)
    assert hash(found) == hash(dynamics)
    assert from_description(kept(dynamics), dynamics) is dynamics


def test_the_strategy_above_has_every_class():
    def below(kind):
        return {kind}.union(*map(below, kind.__subclasses__()))

    public = {kind for kind in below(Dynamics) if hasattr(ns.dynamics, kind.__name__)} - {Dynamics}
    assert {kind.__name__ for kind in public} == {
        "GradientDescent",
        "GradientFlow",
        "HeavyBall",
        "Nesterov",
        "Preconditioned",
        "Ridge",
        "Schedule",
    }


def test_the_attributes_of_a_prediction_hold_its_dynamics():
    k = ns.kernel.compose(ns.mapping.power_law(4, p=1.0), ns.kernel.MLP(depth=1))
    K = ns.operator.lattice(k, shape=(8,))
    dynamics = preconditioned(damped_power(0.5, 1.0), ridge(0.1, heavy_ball(0.5)))
    p = ns.predict(K, np.sin(2 * np.pi * K.points[:, 0]), steps=[1], learning_rate=0.01, dynamics=dynamics)
    assert from_description(json.loads(p.attrs["configuration"])["dynamics"]) == dynamics


@pytest.mark.parametrize(
    "dynamics", [schedule(np.linspace(1, 2, 100)), ridge(0.1, schedule(np.linspace(1, 2, 100))), preconditioned(np.exp)]
)
def test_what_a_description_cannot_hold_is_asked_for(dynamics):
    with pytest.raises(ValueError, match="give the dynamics itself"):
        from_description(kept(dynamics))
    assert from_description(kept(dynamics), dynamics) is dynamics


def test_another_dynamics_than_the_described_is_refused():
    long = schedule(np.linspace(1, 2, 100))
    assert isinstance(from_description(kept(long), schedule(np.linspace(1, 2, 100))), Schedule)
    with pytest.raises(ValueError, match="expected the described"):
        from_description(kept(long), schedule(np.linspace(1, 2, 101)))

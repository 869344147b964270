"""Networks against the infinitely wide ensemble."""

import numpy as np
import pytest

import ntkspec as ns

N = 8
X = np.arange(N)[:, None] / N
Y = np.sin(2 * np.pi * X[:, 0]) + 0.5 * np.cos(4 * np.pi * X[:, 0])
STEPS = [0, 1, 3]


@pytest.fixture(scope="module")
def runs():
    """A prediction, 24 uncentred networks and their infinitely wide limit."""
    k = ns.kernel.compose(ns.mapping.power_law(4, p=0.0), ns.kernel.MLP(depth=1, width=1024))
    K = ns.operator.lattice(k, (N,))
    options = {"steps": STEPS, "learning_rate": ns.dynamics.max_learning_rate(K) / 4}
    r = ns.trainer.train(k, K.points, Y, seeds=24, centered=False, **options)
    return ns.predict(K, Y, **options), r, ns.dynamics.ensemble(k, K.points, Y, K.points, **options)


def test_wide_networks_scatter_as_their_covariance_says(runs):
    p, r, e = runs
    v = ns.validate(p, r, ensemble=e, tolerance=0.1)
    low, high = v.spread_ratio_interval
    # At the start they are Gaussian but for the width: 24 seeds of 8 points know the spread to 6 %.
    np.testing.assert_allclose(v.spread_ratio, 1, atol=0.25)
    assert ((low < v.spread_ratio) & (v.spread_ratio < high)).all()
    assert low.sel(step=0) < 1 < high.sel(step=0)
    spread = np.sqrt((e.standard_deviation**2).sum("point") / np.sum(Y**2))
    np.testing.assert_allclose(v.predicted_spread, spread, rtol=1e-12)
    np.testing.assert_allclose(v.spread_ratio, v.spread / v.predicted_spread, rtol=1e-10)
    assert "of the ensemble's mean" in v.attrs["verdict"]
    assert "predicted covariance" in v.attrs["verdict"]


def test_another_spread_is_noticed(runs):
    p, r, e = runs
    v = ns.validate(p, r, ensemble=e.assign(standard_deviation=2 * e.standard_deviation))
    assert (v.spread_ratio_interval.sel(bound="high") < 1).all()
    assert "Not as the predicted covariance has it" in v.attrs["verdict"]


def test_two_seeds_tell_no_spread(runs):
    p, r, e = runs
    v = ns.validate(p, r.isel(seed=[0, 1]), ensemble=e)
    assert "fewer than 3 seeds" in v.attrs["verdict"]
    alone = ns.validate(p, r.isel(seed=[0]), ensemble=e)
    assert np.isnan(alone.spread_ratio_interval).all()


def test_runs_that_do_not_belong_together_are_refused(runs):
    p, r, e = runs
    with pytest.raises(ValueError, match=r"networks start up to .*ensemble=ns\.dynamics\.ensemble"):
        ns.validate(p, r)
    for other, message in (
        (e.drop_vars("standard_deviation"), r"without standard_deviation .*`ntkspec\.dynamics\.ensemble`"),
        (e.isel(point=slice(0, 4)), "asked at other points"),
        (e.sel(step=[0, 1]), r"the ensemble has no step \[3\]"),
        (e.assign_attrs(learning_rate=1.0), "the ensemble has learning_rate=1.0"),
        (e.assign(prediction=e.prediction + 1), "mean is up to 1 away from the prediction"),
    ):
        with pytest.raises(ValueError, match=message):
            ns.validate(p, r, ensemble=other)
    with pytest.raises(ValueError, match="train with centered=False"):
        ns.validate(p, r.assign_attrs(starts_from_zero=1), ensemble=e)
    with pytest.raises(ValueError, match="predict without `initial`"):
        ns.validate(p.assign_attrs(starts_from_zero=0), r, ensemble=e)

"""Networks against the infinitely wide ensemble."""

import json

import numpy as np
import pytest
import xarray as xr

import ntkspec as ns

N = 8
X = np.arange(N)[:, None] / N
Y = np.sin(2 * np.pi * X[:, 0]) + 0.5 * np.cos(4 * np.pi * X[:, 0])
STEPS = [0, 1, 3]


def facts(v):
    return json.loads(v.attrs["facts"])


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
    last, *_ = facts(v)["spreads"]
    assert last["step"] == 3
    np.testing.assert_allclose(last["ratio"], v.spread_ratio.sel(step=3))
    assert "the error of their mean" in v.attrs["verdict"]


def test_another_spread_is_noticed(runs):
    p, r, e = runs
    v = ns.validate(p, r, ensemble=e.assign(standard_deviation=2 * e.standard_deviation))
    assert (v.spread_ratio_interval.sel(bound="high") < 1).all()
    assert len(facts(v)["spreads"]) == 2
    assert "which differs from the predicted covariance" in v.attrs["verdict"]


def test_the_chance_of_the_mean_is_that_of_the_spread_there_is(runs):
    p, r, e = runs
    v = ns.validate(p, r, ensemble=e.assign(standard_deviation=2 * e.standard_deviation))
    assert facts(v)["spreads"][0]["of_mean"] == pytest.approx(float(v.spread[-1]) / 24**0.5)


def test_a_spread_below_the_roundings_of_training_is_not_compared(runs):
    p, r, e = runs
    small = xr.where(e.step == 3, 1e-7, 1.0)
    faint = e.assign(standard_deviation=small * e.standard_deviation)
    v = ns.validate(p, r, ensemble=faint)
    np.testing.assert_array_equal(np.isnan(v.spread_ratio), [False, False, True])
    assert np.isnan(v.spread_ratio_interval.sel(step=3)).all()
    assert facts(v)["spreads"][0]["step"] == 1
    # The same of networks with more digits.
    double = ns.validate(p, r.assign_attrs(dtype="float64"), ensemble=faint)
    assert double.spread_ratio.notnull().all()
    none = ns.validate(p, r, ensemble=e.assign(standard_deviation=1e-9 * e.standard_deviation))
    assert facts(none)["spreads"] == []


def test_a_small_spread_of_large_functions_keeps_its_digits(runs):
    p, r, e = runs
    near = r.assign(train=p.train + 1e-9 * (r.train - p.train)).assign_attrs(dtype="float64")
    near = near.assign(train=near.train.transpose(*r.train.dims))
    v = ns.validate(p, near, ensemble=e)
    # ε of functions of the labels' size, over a spread of 1e-9 of it, for 24 seeds of 8 points.
    np.testing.assert_allclose(1e9 * v.spread_ratio, ns.validate(p, r, ensemble=e).spread_ratio, rtol=1e-5)


def test_what_the_seeds_leave_open_of_their_mean_is_said(runs):
    p, r, e = runs
    open_ = ns.validate(p, r.isel(seed=slice(0, 4)), ensemble=e, tolerance=0.2)
    high = open_.systematic_error_interval.sel(bound="high")
    assert open_.attrs["holds_until_step"] == 3
    assert float(high[1:].max()) > 0.2
    assert facts(open_)["open"]["error"] == pytest.approx(float(high[1:].max()))
    assert facts(ns.validate(p, r, ensemble=e, tolerance=0.5))["open"] is None


@pytest.mark.parametrize(
    ("off", "said"), [(3, "holds to 20\xa0% until step 1; beyond, the error"), (1, "of the signal at step 1;")]
)
def test_a_mean_without_a_common_error_is_not_said_to_be_good_to_nothing(runs, off, said):
    p, r, e = runs
    apart = (r.train - p.train).isel(seed=slice(0, 12))
    # Whatever one network is off by another is off the other way, but for one step, where all are off by the same.
    both = xr.concat([apart, -apart], "seed").assign_coords(seed=r.seed) + xr.where(r.step == off, 1.0, 0.0)
    v = ns.validate(p, r.assign(train=(p.train + both).transpose(*r.train.dims)), ensemble=e, tolerance=0.2)
    assert float(v.systematic_error.sel(step=4 - off)) == 0
    assert said in v.attrs["verdict"]
    assert " 0\xa0%" not in v.attrs["verdict"].split("their spread")[0]


def test_two_seeds_tell_no_spread(runs):
    p, r, e = runs
    v = ns.validate(p, r.isel(seed=[0, 1]), ensemble=e)
    assert "fewer than 3 networks" in v.attrs["verdict"]
    alone = ns.validate(p, r.isel(seed=[0]), ensemble=e)
    assert np.isnan(alone.spread_ratio_interval).all()


def test_runs_that_do_not_belong_together_are_refused(runs):
    p, r, e = runs
    with pytest.raises(ValueError, match=r"networks start up to .*ensemble=ns\.dynamics\.ensemble"):
        ns.validate(p, r)
    for other, message in (
        (e.drop_vars("standard_deviation"), r"without standard_deviation .*`ntkspec\.dynamics\.ensemble`"),
        (e.isel(point=slice(0, 4)), "predicted at other points"),
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

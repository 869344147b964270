import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import limits
from ntkspec.validation import _prose as prose
from ntkspec.validation._power_law import errors, law
from ntkspec.validation._width_law import at_width, checked_by, not_checked, width_law, width_to_train

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0]) + 0.5 * np.cos(4 * np.pi * X[:, 0])
OPTIONS = {"steps": [0, 1, 3], "widths": (16, 64), "seeds": 8}


@pytest.fixture(scope="module")
def kernel():
    return ns.kernel.compose(ns.mapping.power_law(4, p=0.0), ns.kernel.MLP(depth=1))


@pytest.fixture(scope="module")
def found(kernel):
    return width_law(kernel, X, Y, accuracy=0.08, **OPTIONS)


def test_the_width_that_is_found_keeps_its_promise(found):
    assert found.width.values.tolist() == [16, 64]
    assert found.step.values.tolist() == [1, 3]
    # Theory says 1/2; the interval is that of 16 networks.
    low, high = found.exponent_interval.sel(quantity="error", step=1)
    assert low < 0.5 < high
    needed = found.attrs["needed_width"]
    assert found.attrs["needed_width_low"] < needed < found.attrs["needed_width_high"]
    assert found.attrs["checked_width"] == 16 * np.ceil(needed / 16)
    off = found.attrs["checked_error"] - found.attrs["expected_error"]
    assert abs(off) < 4 * found.attrs["checked_error_sem"]
    assert found.attrs["agrees"] == 1
    assert "Checked: at width" in found.attrs["verdict"]


def test_the_verdict_tells_of_mean_and_bias_where_they_can_be_told(found):
    worst = int(np.argmax(found.value.sel(quantity="error", width=64).values))
    verdict = found.attrs["verdict"]
    for quantity, words in (
        ("error", "the error of a network"),
        ("ensemble_error", "that of their mean"),
        ("bias", "what all networks share (the bias)"),
    ):
        one = found.isel(step=worst).sel(quantity=quantity)
        low, high = one.exponent_interval.values
        assert (f"{words} goes as width^−{float(one.exponent):.2g} (" in verdict) == (low * high > 0)
        assert (f"{words} may fall or not (" in verdict) == (low * high <= 0)
    assert "the error of a network goes as" in verdict
    # A power is a number with its sign: no hyphen stands for a minus.
    assert "^-" not in verdict
    assert "−-" not in verdict


def test_a_power_that_may_be_none_is_not_told_as_a_law(found):
    ends = found.exponent_interval.copy()
    ends.loc[{"quantity": "bias"}] = np.array([-1.1, 2.8])[:, None]
    exponent = found.exponent.where(found["quantity"] != "bias", 0.53)
    said = not_checked(found.assign(exponent_interval=ends, exponent=exponent), 4096).attrs["verdict"]
    assert "what all networks share (the bias) may fall or not (a power of −2.8 to 1.1)" in said
    assert "width^−0.53" not in said
    assert "the error of a network goes as width^" in said


def test_a_validation_at_the_width_of_the_law_checks_it(kernel, found):
    law = width_law(kernel, X, Y, accuracy=0.08, check=False, **OPTIONS)
    assert "Checked" not in law.attrs["verdict"]
    width = width_to_train(law, 2048)
    K = ns.operator.dense(kernel, X)
    options = {"steps": OPTIONS["steps"], "learning_rate": law.attrs["learning_rate"], "loss": "sum"}
    r = ns.trainer.train(at_width(kernel, width), X, Y, seeds=8, seed=1, **options)
    checked = checked_by(law, ns.validate(ns.predict(K, Y, **options), r))
    # The same networks as the law would have trained for its own check.
    for name in ("checked_width", "checked_error", "checked_error_sem", "expected_error"):
        np.testing.assert_allclose(checked.attrs[name], found.attrs[name], rtol=1e-5)
    assert checked.attrs["verdict"] == found.attrs["verdict"]


def test_errors_are_those_that_validate_gives(kernel, found):
    k = at_width(kernel, 64)
    K = ns.operator.dense(k, X)
    options = {"steps": [0, 1, 3], "learning_rate": found.attrs["learning_rate"]}
    v = ns.validate(ns.predict(K, Y, **options), ns.trainer.train(k, X, Y, seeds=8, **options)).sel(step=[1, 3])
    one = found.sel(width=64)
    np.testing.assert_allclose(one.value.sel(quantity="error"), v.error, rtol=1e-6)
    np.testing.assert_allclose(one.value.sel(quantity="spread"), v.spread, rtol=1e-6)
    np.testing.assert_allclose(one.value.sel(quantity="ensemble_error"), v.ensemble_error, rtol=1e-4)
    np.testing.assert_allclose(one.value.sel(quantity="bias").fillna(0), v.systematic_error, rtol=1e-3, atol=1e-6)


def test_a_law_is_not_believed_far_beyond_what_was_trained(found):
    far = found.assign_attrs(needed_width=64 * 8 + 1.0)
    assert width_to_train(far, 10**6) is None
    assert width_to_train(found.assign_attrs(needed_width=500.0), 10**6) == 512
    assert width_to_train(found.assign_attrs(needed_width=500.0), 400) is None
    assert width_to_train(found.assign_attrs(needed_width=np.nan), 10**6) is None


def test_a_width_out_of_reach_is_said_and_not_trained(kernel):
    d = width_law(kernel, X, Y, accuracy=1e-3, **OPTIONS)
    assert d.attrs["checked_width"] == 0
    assert np.isnan(d.attrs["checked_error"])
    assert "farther than a law is to be trusted (8 times)" in d.attrs["verdict"]
    near = width_law(kernel, X, Y, accuracy=0.08, max_width=64, **OPTIONS)
    assert "Not checked by training (max_width=64)" in near.attrs["verdict"]


def test_only_a_width_that_is_a_setting_can_be_set(kernel):
    assert at_width(kernel, 8).network == dataclasses.replace(kernel.network, width=8)
    assert at_width(ns.kernel.linearised(kernel), 8).network.width == 8
    standard = ns.kernel.compose(kernel.mapping, ns.kernel.MLP(depth=1, parametrization="standard", width=64))
    with pytest.raises(ValueError, match="changes with its width"):
        width_law(standard, X, Y, **OPTIONS)


def test_a_network_of_stax_has_its_width_built_in(kernel):
    stax = ns.kernel.stax.load().stax
    built = ns.kernel.from_stax(*stax.serial(stax.Dense(16), stax.Relu(), stax.Dense(1)))
    k = ns.kernel.compose(kernel.mapping, built)
    for one in (k, ns.kernel.linearised(k)):
        with pytest.raises(ValueError, match="StaxNetwork has its width built in"):
            width_law(one, X, Y, **OPTIONS)
    K = ns.operator.dense(k, X)
    options = {"steps": [0, 2], "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
    p, r = ns.predict(K, Y, **options), ns.trainer.train(k, X, Y, seeds=3, **options)
    d = ns.validation.explain(k, p, r, causes=["fluctuation"])
    assert {record["cause"]: record["why"] for record in json.loads(d.attrs["left_out"])}["width"] == "fixed_width"
    assert "spread_exponent" not in d


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (16,)}, "two or more, increasing"),
        ({"widths": (32, 16)}, "two or more, increasing"),
        ({"widths": (0, 16)}, "width=0; expected a positive integer"),
        ({"seeds": 2}, "seeds=2; expected at least 3"),
        ({"accuracy": 0.0}, "accuracy=0.0; expected a positive number"),
        ({"steps": [0]}, "expected one after the start"),
        ({"max_width": 0}, "max_width=0; expected a positive integer"),
    ],
)
def test_bad_input_is_refused_before_any_training(kernel, options, message):
    with pytest.raises(ValueError, match=message):
        width_law(kernel, X, Y, **{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"k": None}, TypeError, "the kernel is a NoneType"),
        ({"x": "ab"}, TypeError, "points are 'ab'; expected numbers"),
        ({"y": [None] * 8}, TypeError, "labels are partly None; expected numbers"),
        ({"steps": [0, 1.5]}, ValueError, "expected whole numbers"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate='fast'; expected a positive number"),
        ({"loss": "logistic"}, ValueError, "loss='logistic'; expected 'sum'"),
        ({"widths": 3}, TypeError, r"widths=3; expected two or more, such as \(32, 64, 128\)"),
        ({"widths": (16, None)}, ValueError, "width=None; expected a positive integer"),
        ({"seeds": 8.0}, ValueError, "seeds=8.0; expected a positive integer"),
        ({"seed": 0.5}, ValueError, "seed=0.5; expected a whole number"),
        ({"accuracy": "a"}, TypeError, "accuracy='a'; expected a positive number"),
        ({"K": np.eye(8)}, TypeError, "`K` is a ndarray; expected an operator"),
        ({"check": "no"}, TypeError, "check='no'; expected True or False"),
        ({"dtype": "float16"}, ValueError, "dtype='float16'; expected 'float32' or 'float64'"),
        ({"checkpoint": 3}, TypeError, "checkpoint=3; expected the name of a folder"),
        ({"resume": True}, ValueError, "resume=True needs the folder of the checkpoints"),
        ({"progress": None}, TypeError, "progress=None; expected a reporter"),
    ],
)
def test_things_of_the_wrong_kind_are_refused_before_any_work(kernel, changes, error, message):
    given = {"k": kernel, "x": X, "y": Y, **OPTIONS, **changes}
    # Work would be refused for want of memory.
    with limits.limited(memory=0), pytest.raises(error, match=message):
        width_law(given.pop("k"), given.pop("x"), given.pop("y"), **given)


def test_an_operator_on_other_points_is_refused(kernel):
    with pytest.raises(ValueError, match=r"K is on other points than the runs, \(4, 1\) and \(8, 1\)"):
        width_law(kernel, X, Y, K=ns.operator.dense(kernel, X[:4]), **OPTIONS)


def test_a_power_has_a_minus_sign_and_nothing_has_none():
    assert prose.power(-0.5, 2) == "−0.5"
    assert prose.power(-0.0, 2) == "0"
    assert prose.power(0.25, 2) == "0.25"


def test_each_width_has_as_many_networks_as_it_is_given(kernel, found):
    d = width_law(kernel, X, Y, check=False, **{**OPTIONS, "seeds": [12, 8]})
    assert d.seeds.values.tolist() == [12, 8]
    assert "(8 to 12 networks each)" in d.attrs["verdict"]
    xr.testing.assert_equal(d.value.sel(width=64), found.value.sel(width=64))
    assert not np.allclose(d.value.sel(width=16), found.value.sel(width=16))
    # The mean is everywhere that of as many networks, or its error would fall with their number.
    squared = (d.value**2).sel(width=16)
    of_eight = squared.sel(quantity="bias").fillna(0) + squared.sel(quantity="spread") / 8
    seen = squared.sel(quantity="bias").notnull()
    np.testing.assert_allclose(squared.sel(quantity="ensemble_error").where(seen), of_eight.where(seen), rtol=1e-10)
    with pytest.raises(ValueError, match="seeds has 3 numbers; expected one, or one for each of 2 widths"):
        width_law(kernel, X, Y, **{**OPTIONS, "seeds": [8, 8, 8]})


def law_of(spread, bias, seeds=40):
    """A law of made-up networks whose spread and bias fall by known powers of the width."""
    rng, grams = np.random.default_rng(0), {}
    for w in (16, 32, 64):
        off = spread * w**-0.5 * rng.standard_normal((1, seeds, 400)) / 20
        off[..., 0] += bias(w)
        grams[w] = off @ np.swapaxes(off, 1, 2)
    return law(grams, np.array([1]), 0.05)


def test_powers_and_intervals_of_made_up_networks():
    d = law_of(0.4, lambda width: 3.2 / width)
    for quantity, falls in (("spread", 0.5), ("bias", 1.0)):
        low, high = d.exponent_interval.sel(quantity=quantity, step=1).values
        assert low < falls < high < low + 0.2
    np.testing.assert_allclose(d.value.sel(quantity="bias", step=1), 3.2 / d.width, rtol=0.1)


def test_draws_are_those_of_an_explicit_loop(rng):
    off = rng.standard_normal((3, 6, 5)) + 1.0
    gram, counts = off @ np.swapaxes(off, 1, 2), np.array([[1, 1, 1, 1, 1, 1], [0, 2, 1, 0, 3, 0.0]])
    found = errors(gram, counts, 6)
    for i, drawn in enumerate(counts):
        chosen = np.repeat(np.arange(6), drawn.astype(int))
        for t in range(3):
            pairs = [gram[t, a, b] for a in chosen for b in chosen if a != b]
            single = np.mean([gram[t, a, a] for a in chosen])
            np.testing.assert_allclose(found.bias[i, t], np.sqrt(np.mean(pairs)), rtol=1e-12)
            np.testing.assert_allclose(found.spread[i, t], np.sqrt(single - np.mean(pairs)), rtol=1e-12)
            np.testing.assert_allclose(found.error[i, t], np.mean(np.sqrt([gram[t, a, a] for a in chosen])), rtol=1e-12)


@pytest.mark.parametrize(("falls", "slower"), [(1.0, False), (0.3, True)])
def test_a_bias_that_falls_more_slowly_than_in_theory_is_said(falls, slower, found):
    made_up = law_of(0.4, lambda width: 0.8 * width**-falls)
    told = made_up.assign_attrs({**found.attrs, "needed_width": np.nan, "needed_width_low": np.nan})
    assert ("more slowly than the 1/width of theory" in prose.width_law(told, 0)) == slower

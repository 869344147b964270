import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ntkspec.validation._power_law import errors, law
from ntkspec.validation._statistics import interval, jackknife, products, split, standard_error


def gram_of(distances):
    """Products of distances (seed, step, point)."""
    return products(xr.DataArray(distances, dims=("seed", "step", "point")), ["point"], 1.0)


def test_products_are_of_channels_and_points_together(rng):
    d = xr.DataArray(rng.standard_normal((3, 2, 4, 2)), dims=("seed", "step", "point", "channel"))
    expected = np.einsum("stpc,utpc->tsu", d, d) / 4
    np.testing.assert_allclose(products(d, ["point", "channel"], 2.0), expected, rtol=1e-13)


def test_split_is_the_unbiased_variance_and_the_rest(rng):
    d = rng.standard_normal((6, 3, 5)) + 0.3
    found = split(gram_of(d), np.ones(6))
    np.testing.assert_allclose(found.spread, d.var(axis=0, ddof=1).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.single, (d**2).sum(axis=2).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.common + found.spread, found.single, rtol=1e-12)


def test_common_is_unbiased_on_few_seeds(rng):
    bias, deviation, points = 0.1, 1.0, 4
    found = [
        float(split(gram_of(bias + deviation * rng.standard_normal((3, 1, points))), np.ones(3)).common[0])
        for _ in range(4000)
    ]
    # The mean of three networks alone would show bias² + 1/3 a point.
    assert np.mean(found) == pytest.approx(points * bias**2, abs=4 * np.std(found) / 4000**0.5)


def test_a_weight_of_zero_is_a_seed_left_out(rng):
    d = rng.standard_normal((5, 2, 3))
    np.testing.assert_allclose(
        split(gram_of(d), np.array([1, 1, 0, 1, 1.0])), split(gram_of(np.delete(d, 2, axis=0)), np.ones(4)), rtol=1e-12
    )


def test_one_seed_shares_nothing_with_another(rng):
    found = split(gram_of(rng.standard_normal((1, 2, 3))), np.ones(1))
    assert np.isfinite(found.single).all()
    assert np.isnan([found.common, found.spread]).all()


def test_jackknife_of_a_mean_is_its_standard_error(rng):
    values = rng.standard_normal(7)
    value, error = jackknife(lambda weights: weights @ values / weights.sum(), 7)
    assert value == pytest.approx(values.mean())
    assert error == pytest.approx(stats.sem(values))
    assert np.isnan(jackknife(lambda weights: weights @ values[:1], 1)[1])


def test_intervals_are_students(rng):
    values = xr.DataArray(rng.standard_normal((5, 2)), dims=("seed", "step"))
    found = interval(values.mean("seed"), standard_error(values), 5)
    assert found.dims[0] == "bound"
    for i in range(2):
        low, high = stats.t.interval(0.95, 4, loc=values[:, i].mean(), scale=stats.sem(values[:, i]))
        np.testing.assert_allclose(found.isel(step=i), [low, high], rtol=1e-10)
    alone = values.isel(seed=[0])
    assert np.isnan(interval(alone.mean("seed"), standard_error(alone), 1)).all()


# Laws of the width, on networks that are made up.


def made_up(rng, widths, seeds=64, points=20, bias=0.0):
    """Distances that scatter as width^-1/2 with a bias that falls as 1/width."""
    return {
        w: gram_of(
            bias / w + rng.standard_normal((seeds, 2, points)) * w**-0.5 / points**0.5 * np.array([[1.0], [2.0]])
        )
        for w in widths
    }


def test_a_law_finds_the_slope_that_was_put_in(rng):
    d = law(made_up(rng, (16, 64, 256)), np.array([1, 10]), accuracy=0.05)
    for name in ("error", "spread"):
        low, high = d.exponent_interval.sel(quantity=name)
        np.testing.assert_allclose(d.exponent.sel(quantity=name), 0.5, atol=0.03)
        assert (low < d.exponent.sel(quantity=name)).all()
        assert (d.exponent.sel(quantity=name) < high).all()
    # The later step has the error 2/√W: 5 % at W = 1600.
    assert d.attrs["needed_width"] == pytest.approx(1600, rel=0.15)
    assert d.attrs["needed_width_low"] < 1600 < d.attrs["needed_width_high"]


def test_a_bias_is_told_from_the_noise_of_the_mean(rng):
    d = law(made_up(rng, (4, 8, 16), bias=2.0), np.array([1, 10]), accuracy=0.05)
    np.testing.assert_allclose(d.exponent.sel(quantity="bias"), 1.0, atol=0.1)
    expected = 2.0 * 20**0.5 / d.width
    np.testing.assert_allclose(d.value.sel(quantity="bias", step=1), expected, rtol=0.05)
    # On no bias at all, most squares come out on either side of zero; where they are below there is no value.
    none = law(made_up(rng, (16, 64), seeds=8), np.array([1, 10]), accuracy=0.05)
    assert (none.value.sel(quantity="bias").fillna(0) < none.value.sel(quantity="spread")).all()


def test_seeds_drawn_twice_do_not_make_a_bias(rng):
    gram = made_up(rng, (16,), seeds=6)[16]
    counts = np.array([3, 0, 1, 2, 0, 0.0])
    found = errors(gram, counts, 6)
    pairs = [(s, u) for s in range(6) for u in range(6) if s != u]
    common = sum(counts[s] * counts[u] * gram[:, s, u] for s, u in pairs) / sum(counts[s] * counts[u] for s, u in pairs)
    np.testing.assert_allclose(np.nan_to_num(found.bias) ** 2, np.maximum(common, 0), atol=1e-15)
    np.testing.assert_allclose(found.error, np.sqrt(np.einsum("tss->ts", gram)) @ counts / 6, rtol=1e-12)


def test_a_law_that_does_not_fall_needs_no_width(rng):
    gram = made_up(rng, (16,), seeds=6)[16]
    d = law({16: gram, 64: 1.1 * gram}, np.array([1, 10]), accuracy=0.05)
    assert np.isnan(d.attrs["needed_width"])

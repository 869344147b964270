import json

import numpy as np
import optax
import pytest
import xarray as xr
from scipy import stats

import ntkspec as ns
from ntkspec.cli._shared import plain
from ntkspec.cli._validate import summary_of_check
from ntkspec.grid import energy_by_frequency, place
from ntkspec.validation._prose import remarks

N = 8
X = np.arange(N)[:, None] / N
STEPS = [0, 1, 4, 10]
Y = np.cos(2 * np.pi * X[:, 0]) + 0.5 * np.sin(4 * np.pi * X[:, 0])
ATTRS = {"learning_rate": 0.1, "loss": "sum", "starts_from_zero": 1}


def dataset(train, x=X, y=Y, steps=STEPS, field=None, training=None, **attrs):
    """A trajectory as `predict` (step, point) or `train` (seed, step, point) would give it."""
    train = np.asarray(train, dtype=float)
    seeds = ("seed",) if train.ndim - np.ndim(y) == 2 else ()
    channel = ("channel",) if np.ndim(y) == 2 else ()
    variables = {"train": ((*seeds, "step", "point", *channel), train), "target": (("point", *channel), y)}
    if field is not None:
        variables["field"] = ((*seeds, "step", "axis0"), field)
    coords = {"step": np.asarray(steps), "x": (("point", "axis"), x)}
    extra = {"configuration": "{}", "versions": "{}", "ntkspec_version": "0", "width": 64, "dtype": "float64"}
    if seeds:
        run = ns.trainer.Training(**(training or {}))
        extra["training"] = run.to_json()
    return xr.Dataset(variables, coords=coords, attrs={**ATTRS, **extra, **attrs})


def facts(*runs, **options):
    """The numbers that the verdict is made of."""
    return json.loads(ns.validate(*runs, **options).attrs["facts"])


def growing(y=Y, steps=STEPS):
    """A made-up trajectory from zero towards the labels."""
    learned = 1 - np.exp(-np.asarray(steps, dtype=float) / 4)
    return learned.reshape(-1, *[1] * np.ndim(y)) * y


def trained(errors, seeds=3, common=True, direction=None):
    """Networks off the trajectory by `errors` (one a step, relative to the labels), all alike or each its own way."""
    rng = np.random.default_rng(0)
    shape = (1 if common else seeds, 1, N)
    off = rng.standard_normal(shape) if direction is None else np.broadcast_to(direction, shape)
    off = off / np.linalg.norm(off, axis=-1, keepdims=True) * np.linalg.norm(Y)
    return growing() + np.asarray(errors)[None, :, None] * np.broadcast_to(off, (seeds, 1, N))


def test_perfect_agreement_has_no_error_and_holds_until_the_last_step():
    v = ns.validate(dataset(growing()), dataset(np.stack([growing()] * 2)))
    for name in ("error_by_seed", "error", "error_sem", "ensemble_error", "spread", "systematic_error"):
        assert (v[name] == 0).all()
    assert (v.error_by_frequency == 0).all()
    np.testing.assert_allclose(v.predicted_residual, v.trained_residual, equal_nan=True)
    assert v.attrs["holds_until_step"] == 10
    assert "width 64 (2 networks) theory holds through step 10, the last one trained" in v.attrs["verdict"]


def test_errors_are_relative_norms():
    errors = [0, 0.01, 0.1, 0.3]
    v = ns.validate(dataset(growing()), dataset(trained(errors)))
    np.testing.assert_allclose(v.error, errors, rtol=1e-12)
    np.testing.assert_allclose(v.error_by_seed, np.broadcast_to(errors, (3, 4)), rtol=1e-12)
    np.testing.assert_allclose(v.error_sem, 0, atol=1e-15)


@pytest.mark.parametrize("channels", [None, 3])
def test_squares_by_frequency_add_up_to_the_square_of_the_error_of_a_seed(channels, rng):
    y = Y if channels is None else rng.standard_normal((N, channels))
    noise = rng.standard_normal((1, len(STEPS), *y.shape)) * np.array([0, 1, 1, 1]).reshape(1, -1, *[1] * y.ndim)
    p, r = dataset(growing(y), y=y), dataset(growing(y)[None] + noise, y=y)
    v = ns.validate(p, r)
    np.testing.assert_allclose((v.error_by_frequency**2).sum("frequency"), v.error**2, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(v.frequency, np.arange(5))
    assert np.isnan(v.error_sem).all()
    assert np.isnan(v.error_by_frequency_sem).all()


def test_error_sits_at_its_frequency():
    direction = np.cos(2 * np.pi * 3 * X[:, 0])
    v = ns.validate(dataset(growing()), dataset(trained([0, 0.2, 0.2, 0.2], direction=direction)))
    np.testing.assert_allclose(v.error_by_frequency.sel(frequency=3), [0, 0.2, 0.2, 0.2], rtol=1e-12)
    np.testing.assert_allclose(v.error_by_frequency.sel(frequency=[0, 1, 2, 4]), 0, atol=1e-14)


def test_residuals_are_amplitudes_relative_to_the_labels():
    v = ns.validate(dataset(growing()), dataset(np.stack([growing()] * 2)))
    left = np.exp(-np.asarray(STEPS) / 4)
    for frequency in (1, 2):
        np.testing.assert_allclose(v.predicted_residual.sel(frequency=frequency), left, rtol=1e-10)
        np.testing.assert_allclose(v.trained_residual.sel(frequency=frequency), left, rtol=1e-10)
    # The labels hold nothing at 0, 3 and 4.
    assert np.isnan(v.predicted_residual.sel(frequency=[0, 3, 4])).all()


def test_common_and_scattered_errors_are_told_apart(rng):
    errors = [0, 0.1, 0.1, 0.1]
    common = ns.validate(dataset(growing()), dataset(trained(errors, seeds=6)))
    np.testing.assert_allclose(common.systematic_error, errors, atol=1e-12)
    np.testing.assert_allclose(common.ensemble_error, errors, atol=1e-12)
    np.testing.assert_allclose(common.spread, 0, atol=1e-12)
    pair = np.stack([trained(errors, seeds=1)[0], 2 * growing() - trained(errors, seeds=1)[0]])
    scattered = ns.validate(dataset(growing()), dataset(pair))
    np.testing.assert_allclose(scattered.ensemble_error, 0, atol=1e-12)
    np.testing.assert_allclose(scattered.systematic_error, 0, atol=1e-12)
    # Two opposite deviations of 0.1: variance 2 · 0.01 / (2 − 1).
    np.testing.assert_allclose(scattered.spread, np.sqrt(2) * np.asarray(errors), atol=1e-12)


def test_ensemble_error_and_spread_make_up_the_errors(rng):
    r = growing() + 0.1 * rng.standard_normal((5, len(STEPS), N)) * np.array([0, 1, 1, 1])[:, None]
    v = ns.validate(dataset(growing()), dataset(r))
    # Mean square error = square of the mean's error + (S − 1)/S of the spread.
    np.testing.assert_allclose((v.error_by_seed**2).mean("seed"), v.ensemble_error**2 + 0.8 * v.spread**2, rtol=1e-12)
    np.testing.assert_allclose(v.error_sem, v.error_by_seed.std("seed", ddof=1) / 5**0.5, rtol=1e-12)
    expected = np.sqrt(np.maximum(v.ensemble_error**2 - v.spread**2 / 5, 0))
    np.testing.assert_allclose(v.systematic_error, expected, atol=1e-15)


def test_intervals_are_those_of_student_over_seeds(rng):
    r = growing() + 0.1 * rng.standard_normal((5, len(STEPS), N)) * np.array([0, 1, 1, 1])[:, None]
    v = ns.validate(dataset(growing()), dataset(r))
    by_seed = np.linalg.norm(r[:, 2] - growing()[2], axis=1) / np.linalg.norm(Y)
    low, high = stats.t.interval(0.95, 4, loc=by_seed.mean(), scale=stats.sem(by_seed))
    np.testing.assert_allclose(v.error_interval.sel(step=4), [low, high], rtol=1e-10)
    assert v.error_interval.dims == ("bound", "step")
    assert v.error_by_frequency_interval.dims == ("bound", "step", "frequency")
    for name in ("error_by_frequency", "trained_residual"):
        low, high = v[f"{name}_interval"].isel(step=2)
        known = v[name].isel(step=2).notnull()
        assert ((low <= v[name].isel(step=2)) & (v[name].isel(step=2) <= high)).where(known, True).all()
        assert (low >= 0).where(known, True).all()
    assert (v.systematic_error_interval.sel(bound="low") <= v.systematic_error + 1e-15).all()
    alone = ns.validate(dataset(growing()), dataset(r[:1]))
    assert np.isnan(alone.error_interval).all()
    assert np.isnan(alone.spread).all()
    assert np.isnan(alone.systematic_error_interval).all()


@pytest.mark.parametrize(
    ("training", "field"),
    [
        ({"optimizer": "adam"}, "optimizer"),
        ({"optimizer": optax.chain(optax.adam(0.1))}, "optimizer"),
        ({"output": "sigmoid"}, "output"),
        ({"loss": "logistic"}, "point_loss"),
        ({"point_loss": lambda f, y: (f - y) ** 4}, "point_loss"),
        ({"schedule": ns.dynamics.piecewise({0: 1.0, 5: 0.5})}, "schedule"),
        ({"schedule": lambda step: 0.5**step}, "schedule"),
        ({"batch_size": 4}, "batch_size"),
        ({"trainable": ("amplitudes", "frequencies")}, "trainable"),
        ({"init": "siren"}, "init"),
        ({"matmul_precision": "bfloat16"}, "matmul_precision"),
    ],
)
def test_what_theory_does_not_know_is_compared_all_the_same_and_said(training, field):
    v = ns.validate(dataset(growing()), dataset(trained([0, 0.01, 0.02, 0.03]), training=training))
    assert [record["field"] for record in json.loads(v.attrs["remarks"])] == [field]
    assert f"raining differs from the prediction: {remarks(v)[0]}" in v.attrs["verdict"]
    assert v.attrs["holds_until_step"] == 10
    assert ns.validate(dataset(growing()), dataset(trained([0, 0.01, 0.02, 0.03]))).attrs["remarks"] == "[]"


def test_labels_of_zero_are_refused():
    p = dataset(np.zeros((4, N)), y=np.zeros(N))
    with pytest.raises(ValueError, match="the labels are all zero"):
        ns.validate(p, dataset(np.zeros((2, 4, N)), y=np.zeros(N)))


@pytest.mark.parametrize(
    ("errors", "tolerance", "holds"),
    [
        ([0, 0.01, 0.02, 0.03], 0.05, 10),
        ([0, 0.01, 0.02, 0.06], 0.05, 4),
        ([0, 0.01, 0.06, 0.02], 0.05, 1),
        ([0, 0.06, 0.01, 0.01], 0.05, -1),
        ([0, 0.06, 0.01, 0.01], 0.1, 10),
        ([0, 0.01, 0.02, 0.06], 0.015, 1),
    ],
)
def test_holds_until_the_step_before_the_first_excess(errors, tolerance, holds):
    v = ns.validate(dataset(growing()), dataset(trained(errors)), tolerance=tolerance)
    assert v.attrs["holds_until_step"] == holds
    assert v.attrs["tolerance"] == tolerance


def test_runs_without_step_zero_compare_where_both_start_from_zero():
    late = [1, 4, 10]
    p, r = dataset(growing(steps=late), steps=late), dataset(trained([0, 0.01, 0.02, 0.03])[:, 1:], steps=late)
    v = ns.validate(p, r)
    assert v.attrs["holds_until_step"] == 10
    r.attrs["starts_from_zero"] = 0
    with pytest.raises(ValueError, match="without step 0 in both, only runs that start from zero compare"):
        ns.validate(p, r)


def test_only_common_steps_are_compared():
    v = ns.validate(dataset(growing()), dataset(trained([0, 0.01, 0.02, 0.03])[:, [0, 2]], steps=[0, 4]))
    assert v.step.values.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("train", "phrases"),
    [
        (trained([0, 0.01, 0.02, 0.03]), ["Use the prediction up to step 10", "at most 3\N{NO-BREAK SPACE}%"]),
        (
            trained([0, 0.01, 0.3, 0.2], seeds=5),
            [
                "Use the prediction up to step 1 only; run controls",
                "holds to 1\N{NO-BREAK SPACE}% until step 1; beyond, the error reaches 30\N{NO-BREAK SPACE}%",
                "at step 4",
                "feature learning",
            ],
        ),
        (
            trained([0, 0.01, 0.02, 0.3], seeds=5, common=False),
            [
                "theory holds to 2\N{NO-BREAK SPACE}% until step 4",
                "as from finite width or kernels that each move apart",
            ],
        ),
        (
            trained([0, 0.2, 0.2, 0.3], seeds=5),
            [
                "Do not rely on the prediction to 5\N{NO-BREAK SPACE}%",
                "does not hold to 5\N{NO-BREAK SPACE}%: the error reaches 30\N{NO-BREAK SPACE}%",
            ],
        ),
        (trained([0, 0.01, 0.02, 0.3], seeds=2), ["train at least 3 networks"]),
        (trained([0, 0.01, 0.02, 0.3], seeds=1), ["(1 network)", "one network has no error bar"]),
    ],
    ids=["holds", "common", "scattered", "never", "two seeds", "one seed"],
)
def test_the_verdict_is_at_most_four_sentences_for_every_outcome(train, phrases):
    verdict = ns.validate(dataset(growing()), dataset(train)).attrs["verdict"]
    for phrase in [*phrases, "At width 64", "Not checked: steps after 10."]:
        assert phrase in verdict
    assert verdict.endswith(".")
    assert len(verdict.split(". ")) <= 4
    assert "nan" not in verdict


@pytest.mark.parametrize(
    ("of_prediction", "of_training", "share"),
    [
        ({"largest_eigenvalue": 10.0}, {}, 0.5),
        # Of the mean of 8 squares the same rate is an eighth.
        ({"largest_eigenvalue": 80.0, "loss": "mean"}, {"loss": "mean"}, 0.5),
        ({"largest_eigenvalue": 15.0}, {}, 0.75),
        ({}, {}, None),
        ({"largest_eigenvalue": 10.0}, {"training": {"optimizer": "adam"}}, None),
        ({"largest_eigenvalue": 10.0}, {"training": {"batch_size": 4}}, 0.5),
    ],
    ids=["plain", "mean", "large rate", "unknown rate", "adam", "minibatches"],
)
def test_finite_width_alone_is_suspected_only_where_nothing_else_sets_seeds_apart(of_prediction, of_training, share):
    p = dataset(growing(), **of_prediction)
    r = dataset(trained([0, 0.01, 0.02, 0.3], seeds=5, common=False), **of_training)
    v = ns.validate(p, r)
    found = json.loads(v.attrs["facts"])
    assert found["limit_share"] == (share if share is None else pytest.approx(share))
    assert found["spread"] > found["common"]
    verdict = v.attrs["verdict"]
    assert ("a large learning rate" in verdict) == (share != 0.5)
    assert ("the different training" in verdict) == (len(found["differences"]) > 0)
    # Kernels that each move in their own way scatter networks as well: controls tell.
    assert "ns.validation.explain" in verdict


@pytest.mark.parametrize("common", [True, False])
def test_what_a_prediction_does_not_know_is_named_before_features_and_width(common):
    r = dataset(trained([0, 0.01, 0.02, 0.3], seeds=5, common=common), training={"schedule": [(0, 1.0), (5, 0.5)]})
    verdict = ns.validate(dataset(growing(), largest_eigenvalue=10.0), r).attrs["verdict"]
    suspect = "feature learning" if common else "finite width"
    assert f"as from the different training or {suspect}" in verdict
    gentle = ns.validate(dataset(growing(), largest_eigenvalue=10.0), dataset(r.train)).attrs["verdict"]
    assert f"as from {suspect}" in gentle


def test_a_run_in_which_nothing_is_learned_tells_nothing():
    idle = "Take more steps"
    p, r = dataset(0.02 * growing()), dataset(0.02 * trained([0, 0.1, 0.1, 0.1]))
    v = ns.validate(p, r)
    assert json.loads(v.attrs["facts"])["learned"] == pytest.approx(0.02 * (1 - np.exp(-2.5)))
    assert v.attrs["verdict"].startswith(idle)
    assert idle not in ns.validate(p, r, tolerance=0.01).attrs["verdict"]
    # Where both start does not count.
    from_labels = (one.assign(train=one.train + one.target).assign_attrs(starts_from_zero=0) for one in (p, r))
    assert idle in ns.validate(*from_labels).attrs["verdict"]
    assert idle not in ns.validate(dataset(growing()), dataset(trained([0, 0.01, 0.02, 0.3]))).attrs["verdict"]


def test_what_the_seeds_leave_open_of_single_networks_is_said():
    errors = np.array([0, 0.01, 0.02, 0.04])
    p, r = dataset(growing()), dataset(np.concatenate([trained(part * errors, seeds=1) for part in (0.5, 1.0, 1.5)]))
    v = ns.validate(p, r)
    high = float(v.error_interval.sel(bound="high", step=10))
    assert v.attrs["holds_until_step"] == 10
    assert json.loads(v.attrs["facts"])["open"] == {"step": 10, "error": pytest.approx(high), "standard_error": None}
    assert f"may be up to {100 * high:.2g}" in v.attrs["verdict"]
    assert facts(p, r, tolerance=0.1)["open"] is None
    # Where it holds nowhere, nothing is left open.
    assert facts(p, r, tolerance=0.005)["open"] is None
    assert facts(p, dataset(trained(errors, seeds=1)))["open"] is None


def test_fields_are_compared_where_both_hold_one():
    field = np.zeros((4, 16))
    off = np.full((2, 4, 16), 0.3)
    v = ns.validate(dataset(growing(), field=field), dataset(np.stack([growing()] * 2), field=off))
    np.testing.assert_allclose(v.field_error, 0.3 / np.sqrt(np.mean(Y**2)), rtol=1e-12)
    assert "field_error" not in ns.validate(dataset(growing(), field=field), dataset(np.stack([growing()] * 2)))


def test_scattered_points_compare_without_frequencies(rng):
    x = rng.random((N, 1))
    assert place(x) is None
    v = ns.validate(dataset(growing(), x=x), dataset(trained([0, 0.01, 0.02, 0.03]), x=x))
    assert "error_by_frequency" not in v
    assert v.attrs["holds_until_step"] == 10


def test_energy_is_the_operator_rooms_energy(rng):
    r = growing() + rng.standard_normal((1, 4, N)) * np.array([0, 1, 1, 1])[:, None]
    v = ns.validate(dataset(growing()), dataset(r))
    energy, _ = energy_by_frequency((r - growing())[0], place(X))
    np.testing.assert_allclose(v.error_by_frequency**2, energy / np.sum(Y**2), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"learning_rate": 0.2}, r"the prediction has learning_rate=0\.1, the training 0\.2; give both the same"),
        ({"loss": "mean"}, "the prediction has loss=sum, the training mean"),
        ({"x": X + 0.01}, "or other ones: use K.points"),
        ({"x": np.zeros((N, 2))}, r"the prediction has points \(8, 1\), the training \(8, 2\)"),
        ({"y": 2 * Y}, "the prediction and the training have other labels"),
        ({"steps": [0, 2, 5, 11]}, r"no common step beyond 0: predicted \[0, 1, 4, 10\], trained \[0, 2, 5, 11\]"),
    ],
)
def test_runs_of_different_problems_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        ns.validate(dataset(growing()), dataset(np.stack([growing()] * 2), **other))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"p": None}, TypeError, r"`p` is a NoneType, expected a Dataset from `ntkspec\.predict`"),
        ({"r": {}}, TypeError, r"`r` is a dict, expected a Dataset from `ntkspec\.trainer\.train`"),
        ({"p": xr.Dataset({"train": 1.0})}, ValueError, r"without target, step, x \(it has train\); pass a result of"),
        ({"ensemble": 3}, TypeError, r"`ensemble` is a int, expected a Dataset from `ntkspec\.dynamics\.ensemble`"),
        ({"causes": 3}, TypeError, r"`causes` is a int, expected a Dataset from `ntkspec\.validation\.explain`"),
        ({"tolerance": "a"}, TypeError, "tolerance='a'; expected a positive number"),
        ({"tolerance": -1.0}, ValueError, r"tolerance=-1\.0; expected a positive number"),
    ],
)
def test_things_of_the_wrong_kind_are_refused(changes, error, message):
    p, r = dataset(growing()), dataset(np.stack([growing()] * 2))
    given = {"p": p, "r": r, **changes}
    with pytest.raises(error, match=message):
        ns.validate(given.pop("p"), given.pop("r"), **given)


def test_results_that_changed_places_or_lost_their_attributes_are_told_so():
    p, r = dataset(growing()), dataset(np.stack([growing()] * 2))
    for pair in ((r, p), (p, r.isel(seed=0)), (r, r)):
        with pytest.raises(ValueError, match=r"expected `seed` in the training alone: .* r\.isel\(seed=\[0\]\)"):
            ns.validate(*pair)
    with pytest.raises(ValueError, match=r"`r` is a Dataset without the attributes learning_rate, .* copy its attrs"):
        ns.validate(p, xr.Dataset(r.variables))


def test_runs_from_different_starts_are_refused():
    with pytest.raises(ValueError, match=r"networks start up to 0\.5 away .* train with centered=True"):
        ns.validate(dataset(growing()), dataset(np.stack([growing() + 0.5] * 2)))


def test_theory_holds_for_a_wide_network_for_a_few_steps(lattices):
    k = ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(depth=1, width=4096))
    K = ns.operator.lattice(k, (N,))
    options = {"steps": [0, 2, 4], "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
    v = ns.validate(ns.predict(K, Y, **options), ns.trainer.train(k, K.points, Y, **options))
    # 1/√4096 is 1.6 %.
    assert v.attrs["holds_until_step"] == 4
    np.testing.assert_allclose(v.predicted_residual, v.trained_residual, atol=0.1)


def summary(p, r, v):
    """What JSON holds of a comparison without held-out points."""
    return summary_of_check(ns.study.Check("", "", None, p, r, v))


@pytest.mark.parametrize("seeds", [1, 3])
def test_json_has_intervals_remarks_and_frequencies(seeds):
    r = dataset(trained([0, 0.01, 0.02, 0.03], seeds=seeds), training={"batch_size": 4, "trainable": ("frequencies",)})
    v = ns.validate(dataset(growing()), r)
    found = json.loads(json.dumps(plain(summary(dataset(growing()), r, v)), allow_nan=False))
    assert found["remarks"] == remarks(v)
    assert len(found["remarks"]) == 2
    assert found["frequency"] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found["error_by_frequency"], v.error_by_frequency)
    if seeds == 1:
        assert found["error_interval"] == {"low": [None] * 4, "high": [None] * 4}
        assert found["spread"] == [None] * 4
    else:
        assert found["error_interval"]["high"] == v.error_interval.sel(bound="high").values.tolist()
    scattered = [dataset(one, x=np.sqrt(X)) for one in (growing(), trained([0, 0.01, 0.02, 0.03]))]
    without = summary(*scattered, ns.validate(*scattered))
    assert without["remarks"] == []
    assert "frequency" not in without


# PSNR


def test_psnr_is_the_closed_form():
    error = xr.DataArray([0.1, 0.2], dims="point")
    assert float(ns.psnr(error, xr.zeros_like(error))) == pytest.approx(-10 * np.log10(0.025))
    assert float(ns.psnr(error, xr.zeros_like(error), peak=255)) == pytest.approx(-10 * np.log10(0.025 / 255**2))


def test_psnr_keeps_steps_and_seeds_and_averages_what_it_is_told(rng):
    values = xr.DataArray(rng.random((2, 3, 4, 5)), dims=("seed", "step", "point", "channel"))
    reference = xr.DataArray(rng.random((4, 5)), dims=("point", "channel"))
    ratio = ns.psnr(values, reference)
    assert ratio.dims == ("seed", "step")
    expected = -10 * np.log10(((values.values - reference.values) ** 2).mean((2, 3)))
    np.testing.assert_allclose(ratio, expected, rtol=1e-12)
    assert ns.psnr(values, reference, dims=["channel"]).dims == ("seed", "step", "point")
    assert ratio.attrs["units"] == "dB"


def test_psnr_of_a_perfect_fit_is_infinite():
    values = xr.DataArray([1.0, 2.0], dims="point")
    assert float(ns.psnr(values, values)) == np.inf


def test_a_result_that_does_not_say_how_it_was_trained_is_refused():
    r = dataset(trained([0, 0.01, 0.02, 0.03]))
    del r.attrs["training"]
    with pytest.raises(ValueError, match=r"`r` is a Dataset without the attributes training, which arithmetic drops"):
        ns.validate(dataset(growing()), r)

"""The main job: what it chooses, and that its parts say the same as the rooms they come from."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import limits, study
from ntkspec.config import NetworkConfig, StudyConfig, Training

CONFIG = StudyConfig(network=NetworkConfig(width=32), scales=(3.0, 1.0), num_frequencies=16)


MOMENTA = {"HeavyBall": ns.dynamics.heavy_ball(), "Nesterov": ns.dynamics.nesterov()}


def planned(one, steps=(0, 5), **options):
    return study.plan(one, steps, training=Training(**options), seeds=3)


@pytest.fixture(scope="module")
def task():
    return ns.task.image.astronaut(16)


@pytest.fixture(scope="module")
def problems(task):
    return study.problems(task, CONFIG)


def test_scales_are_sorted_and_share_their_directions(problems):
    assert list(problems) == [1.0, 3.0]
    first, second = (one.kernel.mapping.frequencies for one in problems.values())
    np.testing.assert_allclose(3 * first, second, rtol=1e-15)


def test_the_learning_rate_is_half_the_limit_of_each_kernel(problems):
    for one in problems.values():
        assert one.learning_rate == pytest.approx(ns.dynamics.max_learning_rate(one.K) / 2)


def test_a_given_learning_rate_is_checked_against_every_kernel(task, problems):
    limits = [ns.dynamics.max_learning_rate(one.K) for one in problems.values()]
    between = sum(limits) / 2
    with pytest.raises(ValueError, match="stability limit"):
        study.problems(task, StudyConfig(CONFIG.network, CONFIG.scales, CONFIG.num_frequencies, between))


@pytest.mark.parametrize("changes", [{"batch_size": 2}, {"trainable": ("frequencies",)}], ids=["batches", "learned"])
def test_what_lowers_the_limit_of_networks_lowers_the_learning_rate(changes, problems):
    one = problems[3.0]
    found = study.steady(one, planned(one, **changes))
    limit = ns.trainer.stability_limit(planned(one, **changes))
    assert found.learning_rate == pytest.approx(limit / 2, rel=0.01)
    assert found.learning_rate < one.learning_rate
    assert study.steady(one, planned(one)) is one
    assert study.steady(one, planned(one, optimizer="adam", **changes)) is one
    # A rate that is lower still is kept.
    slow = replace(one, learning_rate=limit / 10)
    assert study.steady(slow, planned(one, **changes)).learning_rate == slow.learning_rate


def test_a_rate_is_held_to_the_limit_of_its_dynamics(task, problems):
    limits = {name: ns.dynamics.max_learning_rate(problems[1.0].K, dynamics=of) for name, of in MOMENTA.items()}
    for name, of in MOMENTA.items():
        config = StudyConfig(CONFIG.network, (1.0,), CONFIG.num_frequencies, 0.99 * limits[name])
        assert study.problems(task, config, of=of)[1.0].learning_rate == 0.99 * limits[name]
        past = replace(config, learning_rate=1.01 * limits[name])
        with pytest.raises(ValueError, match=f"kernel under {name}, {limits[name]:.6g}; take less"):
            study.problems(task, past, of=of)
    for name, of in (("heavy_ball", "HeavyBall"), ("nesterov", "Nesterov")):
        assert study.momentum_of(Training(optimizer=name)) == MOMENTA[of]
    assert study.momentum_of(Training()) is study.momentum_of(Training(optimizer="adam")) is None


def test_default_scales_follow_the_training_points():
    coarse, fine = (study.default_scales(ns.task.image.astronaut(size)) for size in (32, 128))
    np.testing.assert_allclose(np.array(fine) / np.array(coarse), 4, rtol=0.1)
    assert fine == (1.0, 4.0, 11.0)


def test_stacked_predictions_are_those_of_each_scale(problems):
    steps = [0, 10, 100]
    stacked = study.predictions(problems, steps)
    for scale, one in problems.items():
        alone = ns.predict(one.K, one.task.train_values, steps=steps, learning_rate=one.learning_rate, everywhere=True)
        xr.testing.assert_allclose(stacked.sel(scale=scale).field.drop_vars("scale"), alone.field)
    assert stacked.target.dims == ("point",)
    s, b = study.spectra(problems, num_modes=4)
    assert s.eigenvalue.dims == ("scale", "mode")
    assert b.effective_rank.dims == ("scale",)


def test_quality_is_the_mean_square_over_held_out_points(problems):
    one = problems[1.0]
    p = study.predicted(one, [100])
    error = (p.field.values[0] - one.task.values)[one.task.test_mask]
    assert float(p.test_psnr[0]) == pytest.approx(-10 * np.log10(np.mean(error**2)))


def test_best_takes_the_highest_scale_and_the_first_step_that_is_as_good():
    quality = xr.DataArray(
        [[10.0, 20.0, 20.1], [10.0, 25.95, 26.0]],
        dims=("scale", "step"),
        coords={"scale": [1.0, 4.0], "step": [0, 5, 9]},
    )
    assert study.best(xr.Dataset({"test_psnr": quality})) == (4.0, 5)
    assert study.best(xr.Dataset({"train_psnr": quality})) == (4.0, 5)


def test_a_check_starts_where_the_prediction_starts(problems):
    found = study.check("small", "photograph", problems[1.0], study.plan(problems[1.0], [0, 5], seeds=2))
    assert float(found.validation.error.sel(step=0)) == 0
    assert found.training.field.shape == (2, 2, 16, 16)
    assert float(np.abs(found.training.field.sel(step=0)).max()) == 0
    np.testing.assert_allclose(
        found.training.field.values[..., found.problem.task.train_mask], found.training.train.values, atol=1e-6
    )


@pytest.mark.parametrize(
    ("settings", "of"),
    [
        ({}, None),
        ({"optimizer": "heavy_ball(momentum=0.5)"}, ns.dynamics.heavy_ball(0.5)),
        ({"optimizer": "nesterov"}, ns.dynamics.nesterov(0.9)),
        ({"schedule": "cosine"}, ns.dynamics.cosine(20)),
        ({"optimizer": "adam"}, None),
    ],
    ids=["descent", "ball", "nesterov", "cosine", "adam"],
)
def test_networks_that_are_not_centred_are_held_against_the_ensemble_of_their_dynamics(problems, settings, of):
    one, steps = problems[1.0], [0, 5, 20]
    v = study.check("small", "photograph", one, planned(one, steps, **settings, centered=False)).validation
    options = {"steps": steps, "learning_rate": one.learning_rate, "dynamics": of}
    e = ns.dynamics.ensemble(one.kernel, one.K.points, one.task.train_values, one.K.points, **options)
    expected = np.sqrt((e.standard_deviation**2).sum("point") / np.sum(one.task.train_values**2))
    np.testing.assert_allclose(v.predicted_spread, expected, rtol=1e-12)
    # Before training they are Gaussian but for the width, and three seeds know their spread to a factor of two.
    assert 0.5 < float(v.spread_ratio[0]) < 2
    assert ("adam has no theory here" in v.attrs["verdict"]) == (settings == {"optimizer": "adam"})


def test_the_mean_loss_is_that_of_the_ensemble_too(task):
    one = study.problems(task, CONFIG, "mean")[1.0]
    by_sum = study.problems(task, CONFIG)[1.0]
    spreads = [
        study.check("small", "photograph", each, planned(each, loss=each.loss, centered=False)).validation
        for each in (one, by_sum)
    ]
    np.testing.assert_allclose(spreads[0].predicted_spread, spreads[1].predicted_spread, rtol=1e-9)


def test_an_ensemble_that_does_not_fit_in_memory_is_refused_before_any_work(problems):
    with (
        limits.limited(memory=10**5),
        pytest.raises(ValueError, match=r"64 training points and 2 steps would need .*; take a smaller size"),
    ):
        study.plan(problems[1.0], [0, 5], training=Training(centered=False))


def test_a_run_is_planned_and_its_labels_and_optimizer_are_looked_at_once(problems, monkeypatch):
    from ntkspec.trainer import _entry, _plan
    from ntkspec.training import _optimizer

    seen = []

    def counted(module, name):
        inner = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, **options: (seen.append((name, args)), inner(*args, **options))[1]
        )

    counted(_entry, "planned")
    counted(_plan, "check_labels")
    counted(_optimizer, "_parsed")
    one = problems[1.0]
    planned = study.plan(one, [0, 2], training=Training(optimizer="nesterov"), seeds=2)
    assert [args for name, args in seen if name == "_parsed"].count(("nesterov",)) == 1
    study.check("small", "photograph", one, planned, controls=True)
    assert sorted(name for name, _ in seen if name != "_parsed") == ["check_labels", "planned"]


def test_controls_of_a_plan_are_those_of_its_result(problems):
    one = problems[1.0]
    planned = study.plan(one, [0, 2, 4], training=Training(schedule="cosine", batch_size=16), seeds=2)
    found = study.check("small", "photograph", one, planned)
    of_plan, of_kernel = (
        ns.validation.explain(of, found.prediction, found.training, causes=["batches", "fluctuation"])
        for of in (planned, one.kernel)
    )
    xr.testing.assert_allclose(of_plan, of_kernel, rtol=1e-6)
    with pytest.raises(ValueError, match="the networks were not trained by this plan"):
        ns.validation.explain(planned.changed(Training()), found.prediction, found.training)

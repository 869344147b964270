from dataclasses import replace

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.config import MappingOptions, NetworkConfig, StudyConfig
from ntkspec.selection import FAMILIES, width_for
from ntkspec.selection._plan import law_of
from ntkspec.selection._samples import from_operator, from_signal
from ntkspec.selection._score import TIMES, score
from ntkspec.selection._search import WIDER, plateau

NETWORK = ns.kernel.MLP(depth=2)
SCALES = (1.0, 4.0, 16.0)


@pytest.fixture(scope="module")
def task():
    return ns.task.signal.paper(num_points=32, oversampling=4)


@pytest.fixture(scope="module")
def found(task):
    return ns.design(task, network=NETWORK, scales=SCALES, num_frequencies=32)


def brute_force(k, x, y, unseen, time):
    """Leave-one-out by as many regressions, and the mean posterior variance between the points."""
    K = np.asarray(k.ntk(x))
    ridge = np.linalg.eigvalsh(K)[-1] / time
    residual = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        weights = np.linalg.solve(K[np.ix_(rest, rest)] + ridge * np.eye(len(x) - 1), y[rest])
        residual.append(y[i] - K[i, rest] @ weights)
    inverse = np.linalg.inv(K + ridge * np.eye(len(x)))
    cross = np.asarray(k.ntk(x, unseen))
    variance = np.diag(np.asarray(k.ntk(unseen))) - np.sum(cross * (inverse @ cross), axis=0) + ridge
    return np.array(residual), variance.mean() / np.mean(1 / np.diag(inverse))


@pytest.mark.parametrize("index", [0, 7, -1])
def test_score_against_brute_force(task, index):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=4.0, normalize=False), NETWORK)
    box = from_signal(task).boxes(64)
    assert len(box.points) == 32
    box = replace(box, inner=np.ones(32, dtype=bool))
    found = score(k, box)
    residual, ratio = brute_force(k, box.points, box.labels[:, 0], box.unseen, TIMES[index])
    np.testing.assert_allclose(found.leave_one_out[index], np.mean(residual**2), rtol=1e-6)
    np.testing.assert_allclose(found.expected[index], np.mean(residual**2) * ratio, rtol=1e-5)


def test_boxes_of_a_lattice_hold_every_point_once(rng):
    values = rng.standard_normal((16, 24, 2))
    mask = np.zeros((16, 24), dtype=bool)
    mask[1::2, ::3] = True
    samples = from_signal(ns.task.Task("noise", values, mask, ~mask))
    box = samples.boxes(16)
    assert box.labels.shape == (16, 4, 2)
    assert sorted(box.labels.ravel()) == sorted(values[mask].ravel())
    # Points of a box are as far apart as on the lattice, and those between them are on it too.
    gaps = np.diff(np.unique(box.points[:, 0])), np.diff(np.unique(box.points[:, 1]))
    np.testing.assert_allclose([*gaps[0], *gaps[1]], 1 / 8)
    turns = box.unseen * [16, 24]
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9)
    assert not {tuple(t) for t in np.round(turns)} & {tuple(t) for t in np.round(box.points * [16, 24])}


def test_a_draw_from_the_kernel_is_predicted_as_well_as_stated():
    # If the signal is what the kernel expects, the stated error is the error, to sampling.
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=4.0, normalize=False), NETWORK)
    n = 128
    x = np.arange(n)[:, None] / n
    value, vector = np.linalg.eigh(np.asarray(k.ntk(x)))
    draws = vector @ (np.sqrt(np.maximum(value, 0))[:, None] * np.random.default_rng(0).standard_normal((n, 64)))
    mask = np.arange(n) % 2 == 0
    box = from_signal(ns.task.Task("draw", draws, mask, ~mask)).boxes(64)
    found = score(k, box)
    A = np.asarray(k.ntk(x[mask])) + np.eye(n // 2) / found.flow_time[-1]
    field = np.asarray(k.ntk(x, x[mask])) @ np.linalg.solve(A, draws[mask])
    error = ((field - draws)[9:-8:2] ** 2).mean()
    assert found.expected[-1] == pytest.approx(error, rel=0.1)


def test_the_plateau_is_where_the_quality_is_flat():
    gaussian = FAMILIES["gaussian"]
    flat = plateau(gaussian, [1.0, 2.0, 4.0, 8.0], [0.0, 1.0, 1.0, 0.0], flatness=0.5)
    assert flat.low == pytest.approx(2**0.5)
    assert flat.high == pytest.approx(4 * 2**0.5)
    assert flat.at_edge == (False, False)
    assert flat.low < flat.taken < flat.high
    rising = plateau(gaussian, [1.0, 2.0], [0.0, 0.1], flatness=0.5)
    assert (rising.low, rising.high, rising.at_edge) == (1.0, 2.0, (True, True))
    # A power law's exponent is on a linear axis.
    linear = plateau(FAMILIES["power_law"], [0.0, 1.0, 2.0], [0.0, 1.0, 0.0], flatness=0.5)
    assert (linear.low, linear.high) == (0.5, 1.5)


def test_design_recommends_what_can_be_trained(task, found):
    attrs = found.attrs
    assert SCALES[0] <= attrs["scale"] <= SCALES[-1]
    k = ns.kernel.compose(ns.mapping.gaussian(1, 32, scale=attrs["scale"], seed=0, normalize=False), NETWORK)
    K = ns.operator.lattice(k, task.shape, task.train_mask)
    assert attrs["learning_rate"] == pytest.approx(ns.dynamics.max_learning_rate(K) / 2)
    assert attrs["steps"] in found.step
    assert attrs["psnr_low"] < attrs["psnr"] < attrs["psnr_high"]
    assert attrs["psnr"] == pytest.approx(float(found.predicted_psnr.sel(step=attrs["steps"])))
    assert f"{attrs['steps']:,} steps" in attrs["verdict"]


def test_design_sees_the_training_samples_alone(task, found):
    values = np.where(task.train_mask, task.values, 1e3)
    other = ns.task.Task("other", values, task.train_mask, task.test_mask)
    again = ns.design(other, network=NETWORK, scales=SCALES, num_frequencies=32)
    assert again.drop_attrs().identical(found.drop_attrs())


def test_an_operator_with_labels_is_the_same_signal(task, found):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=1.0), NETWORK)
    K = ns.operator.lattice(k, task.shape, task.train_mask)
    again = ns.design(K, task.train_values, scales=SCALES, num_frequencies=32)
    assert again.attrs["scale"] == found.attrs["scale"]
    samples = from_operator(K, task.train_values)
    np.testing.assert_array_equal(samples.mask, task.train_mask)


def test_scattered_points_are_designed_for():
    x = np.random.default_rng(0).random((96, 2))
    k = ns.kernel.compose(ns.mapping.basic(2), NETWORK)
    y = np.stack([np.sin(2 * np.pi * x[:, 0]), np.cos(2 * np.pi * x.sum(axis=1))], axis=1)
    found = ns.design(ns.operator.dense(k, x), y, scales=[0.5, 2.0, 8.0], num_frequencies=32)
    assert found.attrs["scale"] < 4
    assert "signal_energy" not in found
    assert ns.plot.design(found).shape == (4,)


def test_a_rougher_signal_takes_a_larger_scale():
    n = 64
    x = np.arange(n) / n
    mask = np.arange(n) % 2 == 0
    scales = []
    for frequency in (1, 12):
        signal = ns.task.Task("wave", np.sin(2 * np.pi * frequency * x), mask, ~mask)
        found = ns.design(signal, network=NETWORK, scales=(0.5, 2.0, 8.0, 32.0), num_frequencies=64)
        scales.append(found.attrs["scale"])
    assert scales[0] < scales[1]


def wave(frequency, n=64):
    mask = np.arange(n) % 2 == 0
    return ns.task.Task("wave", np.sin(2 * np.pi * frequency * np.arange(n) / n), mask, ~mask)


def test_a_search_that_is_too_narrow_goes_on():
    options = {"network": NETWORK, "num_frequencies": 64}
    found = ns.design(wave(6), scales=(1.0, 2.0), **options)
    added = found.sizes["candidate"] - 2
    assert added >= 1
    np.testing.assert_allclose(sorted(found.scale.values), 2.0 ** np.arange(2 + added))
    assert found.attrs["scale"] > 2
    assert not bool(found.open_ended.sel(criterion="leave_one_out"))
    # A single scale is what was asked about.
    alone = ns.design(wave(6), scales=(2.0,), **options)
    assert alone.sizes["candidate"] == 1
    assert alone.attrs["scale"] == pytest.approx(2.0)
    assert "No other scale was compared" in alone.attrs["verdict"]


def test_a_search_that_finds_no_end_says_so():
    # Far below its frequency a wave is best predicted by its mean, the more so the smaller the scale; below a tenth of
    # a turn over the points a wave is a line, and scales make no difference.
    found = ns.design(wave(12), network=NETWORK, scales=(0.5, 1.0), num_frequencies=64)
    assert 2 < found.sizes["candidate"] <= 2 + WIDER
    assert found.scale.min() >= 0.1
    assert bool(found.open_ended.sel(criterion="leave_one_out"))
    assert "the search ends there" in found.attrs["verdict"]


def test_a_standard_network_keeps_the_width_that_its_rate_is_for(task):
    network = ns.kernel.MLP(depth=2, parametrization="standard", width=48)
    found = ns.design(task, network=network, scales=[4.0], num_frequencies=16)
    assert found.attrs["width"] == 48
    assert "width=48" in found.attrs["lines_ntkspec"]
    assert "Its width of 48" in found.attrs["verdict"]


def test_families_of_different_scales_are_labelled_as_such(task):
    found = ns.design(task, network=NETWORK, families=["power_law", "gaussian"], scales=[1.0, 2.0], num_frequencies=16)
    assert found.scale.attrs["long_name"] == "parameter of the family"
    assert set(found.parameter.values) == {"p", "scale"}
    chosen = FAMILIES[found.attrs["family"]]
    label = ns.plot.design(found)[0].get_xlabel()
    assert chosen.meaning[1:] in label
    assert chosen.units in label


def test_noise_is_said_to_be_no_signal(task):
    noise = np.random.default_rng(0).standard_normal(64)
    mask = np.arange(64) % 2 == 0
    found = ns.design(ns.task.Task("noise", noise, mask, ~mask), network=NETWORK, scales=[4.0], num_frequencies=16)
    assert found.attrs["psnr_of_mean"] == pytest.approx(-10 * np.log10(np.var(noise[mask])))
    assert "little between the points can be predicted" in found.attrs["verdict"]
    clean = ns.design(wave(3), network=NETWORK, scales=[3.0], num_frequencies=16)
    assert "little between the points" not in clean.attrs["verdict"]


def test_a_law_that_is_used_beyond_its_measurement_says_so():
    found = ns.design(wave(6), network=NETWORK, scales=[0.5], num_frequencies=16)
    assert "the network was relu of depth 3" in found.attrs["verdict"]
    assert ("more steps were not measured" in found.attrs["verdict"]) == (found.attrs["steps"] > 300)


def test_psnr_is_relative_to_the_peak(task, found):
    other = ns.design(task, network=NETWORK, scales=SCALES, num_frequencies=32, peak=10.0)
    assert other.attrs["psnr"] == pytest.approx(found.attrs["psnr"] + 20)
    np.testing.assert_allclose(other.psnr, found.psnr + 20)
    assert other.attrs["steps"] == found.attrs["steps"]


def test_momentum_reaches_the_same_in_the_steps_it_is_said_to(task):
    attrs = ns.design(task, network=NETWORK, scales=[0.5], num_frequencies=32).attrs
    k = ns.kernel.compose(ns.mapping.gaussian(1, 32, scale=0.5, seed=0, normalize=False), NETWORK)
    K = ns.operator.lattice(k, task.shape, task.train_mask)
    y, rate = task.train_values, attrs["learning_rate"]
    assert attrs["steps_with_momentum"] < attrs["steps"]
    slow = ns.predict(K, y, steps=[attrs["steps"]], learning_rate=rate)
    fast = ns.predict(
        K, y, steps=[attrs["steps_with_momentum"]], learning_rate=rate, dynamics=ns.dynamics.heavy_ball(0.9)
    )
    assert np.linalg.norm(fast.train[-1] - y) <= 1.01 * np.linalg.norm(slow.train[-1] - y)


def test_every_option_of_the_network_is_searched(task):
    found = ns.design(
        task,
        network=NETWORK,
        families=("power_law", "positional"),
        scales=[1.0, 2.0],
        depths=[1, 2],
        activations=["relu", "erf"],
        W_stds=[1.5],
        b_stds=[0.0, 0.1],
        num_frequencies=16,
    )
    asked = found.scale.isin([1.0, 2.0])
    assert int(asked.sum()) == 2 * 2 * 2 * 2 * 2
    assert set(found.family.values) == {"power_law", "positional"}
    assert set(found.activation.values) == {"relu", "erf"}
    assert set(found.b_std.values) == {0.0, 0.1}
    assert ns.plot.design(found).shape == (4,)


@pytest.mark.parametrize("criterion", ["expected", "generalised", "evidence"])
def test_each_criterion_makes_its_own_choice(task, found, criterion):
    again = ns.design(task, network=NETWORK, scales=SCALES, num_frequencies=32, criterion=criterion)
    assert again.attrs["scale"] == float(found.chosen_scale.sel(criterion=criterion))


def test_a_design_is_kept_and_drawn(found, tmp_path):
    ns.record.save(found, tmp_path / "design.nc")
    assert ns.record.load(tmp_path / "design.nc").attrs["verdict"] == found.attrs["verdict"]
    axes = ns.plot.design(found)
    assert "cycles per unit" in axes[0].get_xlabel()
    assert "dB" in axes[2].get_ylabel()


def test_width_follows_the_measured_law():
    law = law_of(1)
    width, safe = width_for(0.05, law)
    assert law.error(width) <= 0.05 < law.error(width - 16)
    assert safe >= width
    assert width_for(0.02, law)[0] > width
    assert law_of(3) == law_of(2)


def test_bad_input_is_refused(task):
    k = ns.kernel.compose(ns.mapping.basic(1), NETWORK)
    K = ns.operator.lattice(k, (16,))
    with pytest.raises(ValueError, match="no labels"):
        ns.design(K)
    with pytest.raises(ValueError, match="labels have shape"):
        ns.design(K, np.ones(3))
    with pytest.raises(ValueError, match="constant"):
        ns.design(K, np.ones(16))
    for size in (1e-300, 1e200):
        with pytest.raises(ValueError, match="rescale the labels"):
            ns.design(K, size * np.arange(16.0))
    with pytest.raises(ValueError, match="peak"):
        ns.design(task, peak=0.0)
    with pytest.raises(ValueError, match="seed=-1"):
        ns.design(task, seed=-1)
    repeated = np.repeat([0.1, 0.5, 0.9], 20)[:, None]
    with pytest.raises(ValueError, match="3 different training points"):
        ns.design(ns.operator.dense(k, repeated), np.arange(60.0))
    clustered = np.append(1e-3 * np.arange(30) / 30, [0.5, 1.0])[:, None]
    with pytest.raises(ValueError, match="leave out those far from the rest"):
        ns.design(ns.operator.dense(k, clustered), np.arange(32.0))
    with pytest.raises(ValueError, match="train_mask has shape"):
        ns.design(replace(task, train_mask=task.train_mask[:-1]))
    with pytest.raises(ValueError, match="at least 4"):
        ns.design(ns.operator.lattice(k, (3,)), np.arange(3.0))
    with pytest.raises(ValueError, match="its own labels"):
        ns.design(task, np.ones(32))
    with pytest.raises(TypeError, match="ndarray"):
        ns.design(np.ones(16))
    with pytest.raises(ValueError, match="criterion"):
        ns.design(task, criterion="luck")
    with pytest.raises(ValueError, match="family"):
        ns.design(task, families=["fourier"])
    with pytest.raises(ValueError, match="scale"):
        ns.design(task, scales=[0.0, 1.0])
    with pytest.raises(ValueError, match="one coordinate"):
        ns.design(ns.task.image.astronaut(16), families=["power_law"])
    with pytest.raises(ValueError, match="activation"):
        ns.design(task, activations=["wobble"])
    for accuracy in (0.0, 1e-6, 2.0):
        with pytest.raises(ValueError, match="accuracy"):
            ns.design(task, accuracy=accuracy)
    for empty in ({"scales": []}, {"families": []}, {"families": "gaussian"}, {"depths": []}, {"scales": 3.0}):
        with pytest.raises(ValueError, match="at least one"):
            ns.design(task, **empty)
    measured = ns.operator.measured(K, np.eye(16)[::2])
    with pytest.raises(ValueError, match="no place of their own"):
        ns.design(measured, np.arange(8.0))


def test_a_design_takes_as_few_samples_as_a_prediction():
    task = ns.task.signal.sampled(np.sin(np.arange(8.0)), "short", "short", [], 8)
    found = ns.design(task, network=NETWORK, scales=[0.5, 1.0], num_frequencies=16)
    assert (found.attrs["num_points"], np.isfinite(found.attrs["psnr"])) == (4, True)


@pytest.mark.parametrize("name", ["sound", "picture"])
def test_omega_0_is_searched_for_a_siren(name):
    t = np.arange(96) / 96
    sound = ns.task.signal.sampled(np.sin(14 * np.pi * t) + np.cos(36 * np.pi * t), name, name, [], 96)
    signal = sound if name == "sound" else ns.task.image.astronaut(20)
    found = ns.design(signal, families=["siren"], depths=[1], num_frequencies=32)
    assert (found.attrs["parameter"], found.attrs["activation"]) == ("omega_0", "siren")
    assert found.attrs["W_std"] == pytest.approx(2**0.5 / 30)
    options = MappingOptions(omega_0=(30.0, found.attrs["scale"]))
    by_omega = ns.study.problems(signal, StudyConfig(NetworkConfig(1), (), 32, mapping="siren", options=options))
    quality = ns.study.predictions(by_omega, (10, 1000, 100_000)).test_psnr.max("step")
    assert quality.sel(scale=found.attrs["scale"]) >= quality.sel(scale=30.0)


def test_noisy_labels_stop_training_early():
    n = 96
    x = np.arange(n) / n
    mask = np.arange(n) % 2 == 0
    noise = 0.3 * np.random.default_rng(0).standard_normal(n)
    clean, noisy = (
        ns.design(ns.task.Task("wave", y, mask, ~mask), network=NETWORK, scales=[3.0], num_frequencies=32)
        for y in (np.sin(6 * np.pi * x) / 2, np.sin(6 * np.pi * x) / 2 + noise)
    )
    assert noisy.attrs["steps"] < clean.attrs["steps"] / 10

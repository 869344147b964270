import functools

import jax
import numpy as np
import oracle_dense
import pytest

import ntkspec as ns
from ntkspec.trainer._ensemble import initialise

X = np.arange(8)[:, None] / 8
Y = np.stack([np.sin(2 * np.pi * X[:, 0]), np.cos(4 * np.pi * X[:, 0])], axis=1)
STEPS = [0, 1, 5, 30]
UNSEEN = [[1 / 16], [1 / 8]]
NETWORKS = {
    "ntk": {"W_std": 1.3, "b_std": 0.4, "parametrization": "ntk"},
    "standard": {"W_std": 1.2, "b_std": 0.2, "parametrization": "standard"},
}


@pytest.fixture(scope="session")
def composed():
    g = ns.mapping.power_law(3, p=1.0)
    nets = {name: ns.kernel.MLP(depth=2, width=32, **options) for name, options in NETWORKS.items()}
    return {name: ns.kernel.compose(g, net) for name, net in nets.items()}


@functools.cache
def safe_rate_of(parametrization):
    k = ns.kernel.compose(ns.mapping.power_law(3, p=1.0), ns.kernel.MLP(depth=2, width=32, **NETWORKS[parametrization]))
    return float(0.5 / np.linalg.eigvalsh(np.asarray(k.ntk(X)))[-1])


def safe_rate(k):
    return safe_rate_of(k.network.parametrization)


@pytest.fixture(scope="module")
def runs(composed):
    """Both networks, two channels, float64, two seeds: shared by the tests that only look."""
    return {
        name: ns.trainer.train(
            k, X, Y, steps=STEPS, learning_rate=safe_rate(k), seeds=2, dtype="float64", field_shape=(16,), unseen=UNSEEN
        )
        for name, k in composed.items()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_gradient_descent_by_hand(name, runs, composed):
    k = composed[name]
    stacked = initialise(k.network, 0, 2, k.mapping.num_features, 2, "float64")
    for seed in range(2):
        params = [{key: np.asarray(leaf[seed]) for key, leaf in layer.items()} for layer in stacked]
        gain, shift = None, None
        if name == "ntk":
            gain = [k.network.W_std / len(layer["w"]) ** 0.5 for layer in params]
            shift = k.network.b_std
        expected = oracle_dense.train(params, np.asarray(k.mapping(X)), Y, safe_rate(k), STEPS, gain, shift)
        # Thirty steps of a few hundred roundings.
        np.testing.assert_allclose(runs[name].train.sel(seed=seed), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_centered_networks_start_at_exactly_zero_and_learn(name, runs):
    r = runs[name]
    assert (r.train.sel(step=0) == 0).all()
    assert (r.field.sel(step=0) == 0).all()
    assert (r.loss.sel(step=30) < 0.9 * r.loss.sel(step=0)).all()
    assert r.attrs["starts_from_zero"] == 1
    assert r.attrs["width"] == 32


@pytest.mark.parametrize("name", NETWORKS)
def test_other_points_have_the_function_of_the_training_points(name, runs):
    r = runs[name]
    assert r.field.dims == ("seed", "step", "axis0", "channel")
    np.testing.assert_allclose(r.field[:, :, ::2], r.train, rtol=0, atol=1e-12)
    assert r.unseen.dims == ("seed", "step", "asked", "channel")
    np.testing.assert_allclose(r.unseen, r.field[:, :, 1:3], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(r.unseen_x, UNSEEN)
    np.testing.assert_allclose(r.axis0, np.arange(16) / 16)


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_energies_are_those_of_the_residual(name, runs):
    r = runs[name]
    squares = ((r.train - Y) ** 2).sum(("point", "channel"))
    np.testing.assert_allclose(r.loss, squares / 2, rtol=1e-12)
    np.testing.assert_allclose(r.residual_energy.sum("frequency"), squares, rtol=1e-12)
    assert float(r.target_energy.sum()) == pytest.approx(np.sum(Y**2), rel=1e-12)
    np.testing.assert_allclose(r.frequency, np.arange(5))


def test_a_network_is_the_same_in_any_company(composed):
    k = composed["ntk"]
    options = {"steps": [0, 5], "learning_rate": safe_rate(k)}
    two, four = (ns.trainer.train(k, X, Y, seeds=count, **options) for count in (2, 4))
    # float32, and another batch size may sum in another order.
    np.testing.assert_allclose(four.train[:2], two.train, rtol=0, atol=1e-5)
    assert not np.allclose(four.train[2], four.train[3], atol=1e-3)
    again = ns.trainer.train(k, X, Y, seeds=2, **options)
    np.testing.assert_array_equal(again.train, two.train)


def test_the_first_seed_changes_the_networks(composed):
    k = composed["ntk"]
    options = {"steps": [5], "learning_rate": safe_rate(k), "seeds": 2}
    one, other = (ns.trainer.train(k, X, Y, seed=seed, **options) for seed in (0, 1))
    assert not np.allclose(one.train, other.train, atol=1e-3)
    assert (one.attrs["first_seed"], other.attrs["first_seed"]) == (0, 1)


def test_mean_loss_at_n_times_the_rate_is_the_summed_loss(runs, composed):
    k = composed["ntk"]
    r = ns.trainer.train(k, X, Y, steps=STEPS, learning_rate=8 * safe_rate(k), loss="mean", seeds=2, dtype="float64")
    np.testing.assert_allclose(r.train, runs["ntk"].train, rtol=0, atol=1e-12)
    np.testing.assert_allclose(8 * r.loss, runs["ntk"].loss, rtol=1e-12)


def test_recorded_steps_do_not_change_the_path(runs, composed):
    k = composed["ntk"]
    r = ns.trainer.train(k, X, Y, steps=[30], learning_rate=safe_rate(k), seeds=2, dtype="float64")
    np.testing.assert_allclose(r.train[:, 0], runs["ntk"].train[:, -1], rtol=0, atol=1e-13)


def test_dtype_is_the_arithmetics(runs, composed):
    k = composed["ntk"]
    single = ns.trainer.train(k, X, Y, steps=STEPS, learning_rate=safe_rate(k), seeds=2)
    error = np.abs(single.train - runs["ntk"].train).max()
    assert 1e-9 < error < 1e-4
    assert single.attrs["dtype"] == "float32"


def test_uncentered_networks_agree_with_predictions_from_their_own_start(composed):
    k = ns.kernel.compose(composed["ntk"].mapping, ns.kernel.MLP(depth=1, width=2048))
    K = ns.operator.lattice(k, (8,))
    y = Y[:, 0]
    options = {"steps": [0, 1, 10], "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
    r = ns.trainer.train(k, K.points, y, seeds=2, centered=False, **options)
    assert np.abs(r.train.sel(step=0)).max() > 0.1
    assert r.attrs["starts_from_zero"] == 0
    for seed in range(2):
        p = ns.predict(K, y, initial=r.train.sel(seed=seed, step=0).values, **options)
        v = ns.validate(p, r.sel(seed=[seed]))
        # 1/√width is 2 %, measured against labels of norm 2.
        assert float(v.error.max()) < 0.1
    with pytest.raises(ValueError, match=r"networks start up to .* away .* train with centered=True"):
        ns.validate(ns.predict(K, y, **options), r)


def test_scattered_points_train_without_frequencies(composed, rng):
    k = composed["ntk"]
    r = ns.trainer.train(k, rng.random((8, 1)), Y, steps=[1], learning_rate=1e-3, seeds=2)
    assert "residual_energy" not in r
    assert r.train.dims == ("seed", "step", "point", "channel")


@pytest.mark.parametrize("steps", [[40], [0, 20, 200]], ids=["not a number", "infinite square"])
def test_divergence_is_an_error_that_names_the_step(composed, steps):
    k = composed["ntk"]
    with pytest.raises(FloatingPointError, match=r"training diverged by step \d+; take a learning rate below"):
        ns.trainer.train(k, X, Y, steps=steps, learning_rate=1e4, seeds=2)


def test_batches_are_blamed_only_where_there_are_any(composed):
    """Labels so large that the kernel grows, at a rate below the limit of the start."""
    blamed = []
    for batch_size in (None, 4):
        with pytest.raises(FloatingPointError, match="though the stability limit at the start was") as error:
            ns.trainer.train(
                composed["ntk"],
                X,
                1e4 * Y,
                steps=[100],
                learning_rate=safe_rate(composed["ntk"]),
                seeds=1,
                batch_size=batch_size,
            )
        blamed.append("batches are noisy; larger ones" in str(error.value))
    assert blamed == [False, True]


def test_divergence_names_the_rate_of_its_step_and_not_of_a_later_one(composed):
    schedule = ns.dynamics.piecewise({0: 1.0, 35: 50.0})
    with pytest.raises(FloatingPointError, match=r"got 1e\+04\)"):
        ns.trainer.train(composed["ntk"], X, Y, steps=[40], learning_rate=1e4, schedule=schedule, seeds=2)


@pytest.mark.parametrize("centered", [True, False])
def test_an_overflow_before_any_step_is_no_fault_of_the_rate(composed, centered):
    with pytest.raises(FloatingPointError, match=r"step 0: before any step, .* labels up to .*e\+30 .* float32; scale"):
        ns.trainer.train(composed["ntk"], X, 1e30 * Y, steps=[0, 4], learning_rate=1e-3, seeds=2, centered=centered)


@pytest.mark.parametrize(
    ("y", "point_loss"),
    [(0 * Y, None), (Y, lambda f, y: -jax.numpy.exp(-((f - y) ** 2)))],
    ids=["zero", "negative"],
)
def test_a_loss_that_is_not_positive_at_the_start_is_no_divergence(y, point_loss, composed):
    k = composed["ntk"]
    r = ns.trainer.train(k, X, y, steps=[0, 10], learning_rate=1e-3, seeds=2, batch_size=4, point_loss=point_loss)
    # Labels of zero are met but for the rounding of f − f_0.
    assert (r.loss.sel(step=10) <= r.loss.sel(step=0) + 1e-9).all()


def test_divergence_without_a_stability_limit_does_not_blame_the_kernel(composed):
    options = {"steps": [40], "learning_rate": 10.0, "seeds": 2, "point_loss": lambda f, y: -y * f - f**4}
    with pytest.raises(FloatingPointError, match="There is no stability limit to go by: at the start the loss has no"):
        ns.trainer.train(composed["ntk"], X, Y, **options)


@pytest.mark.parametrize("times", [8.2, 21.0, 300.0])
def test_divergence_through_numbers_whose_square_overflows_warns_of_nothing_else(composed, times):
    # Recorded at every step, the outputs pass 1e19 to 1e38: finite in float32, with infinite squares.
    k = composed["ntk"]
    with pytest.raises(FloatingPointError, match=r"training diverged by step \d+"):
        ns.trainer.train(k, X, Y, steps=range(40), learning_rate=times * 4 * safe_rate(k), seeds=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[:, 0]}, r"points have shape \(8,\); expected \(n, 1\)"),
        ({"y": Y[:3]}, r"labels have shape \(3, 2\); expected \(8,\)"),
        ({"steps": [0, 1.5]}, r"expected whole numbers: a network takes no half steps"),
        ({"steps": [2, 1]}, "expected increasing numbers"),
        ({"seeds": 0}, "seeds=0; expected a positive integer"),
        ({"learning_rate": -1.0}, r"learning_rate=-1\.0; expected a positive number"),
        ({"loss": "log"}, "loss='log'; expected 'sum', 'mean' or 'logistic'"),
        ({"field_shape": (4, 4)}, r"field_shape=\(4, 4\); expected 1 positive sizes"),
        ({"dtype": "float16"}, "dtype='float16'; expected 'float32' or 'float64'"),
    ],
)
def test_bad_input_is_refused_in_words(changes, message, composed):
    options = {"x": X, "y": Y, "steps": [1], "learning_rate": 1e-3, **changes}
    with pytest.raises(ValueError, match=message):
        ns.trainer.train(composed["ntk"], options.pop("x"), options.pop("y"), **options)


def test_a_network_without_width_is_refused():
    k = ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(depth=1))
    with pytest.raises(ValueError, match="this network has no width"):
        ns.trainer.train(k, X, Y, steps=[1], learning_rate=1e-3)


def test_progress_hears_of_every_step(composed):
    heard = []

    class Reporter:
        def start(self, description, total=None, unit="it"):
            heard.append((description, total, unit))
            return self

        def advance(self, n=1, **fields):
            heard.append(n)

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            return None

    k = composed["ntk"]
    ns.trainer.train(k, X, Y, steps=[0, 30, 60], learning_rate=1e-3, seeds=2, progress=Reporter())
    assert heard[0] == ("training", 60, "steps")
    assert sum(heard[1:]) == 60


def test_theory_and_training_agree_as_measured():
    """Measured at step 100: relative errors of about 4e-2 at W = 256 and 2e-2 at W = 1,024, so between them at 512."""
    error = {}
    x = np.arange(64)[:, None] / 64
    y = np.random.default_rng(0).standard_normal(64)
    y = np.fft.irfft(np.fft.rfft(y) / np.arange(1, 34), 64)
    for width in (256, 512):
        k = ns.kernel.compose(ns.mapping.power_law(32, p=1.0), ns.kernel.MLP(depth=3, width=width))
        K = ns.operator.lattice(k, (64,))
        options = {"steps": [0, 100], "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
        r = ns.trainer.train(k, x, y, seeds=4, **options)
        error[width] = float(ns.validate(ns.predict(K, y, **options), r).error.sel(step=100))
    assert 0.015 < error[256] < 0.09
    # The root of the width is 1.4; four seeds know each mean to about 20 %.
    assert 0.01 < error[512] < 0.9 * error[256]

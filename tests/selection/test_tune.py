import jax
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.selection import lattice_error, tune_amplitudes

NETWORK = ns.kernel.MLP(depth=2)


def behind(mapping):
    return ns.kernel.compose(mapping, NETWORK)


def predicted_error(k, values, stride, time):
    """The same by a prediction of the flow on the strided lattice."""
    shape = values.shape[1:]
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(None, None, stride) for _ in shape)] = True
    K = ns.operator.lattice(k, shape, mask)
    rate = ns.dynamics.max_learning_rate(K) / 2
    p = ns.predict(
        K,
        values[:, mask].T,
        steps=[time / rate],
        learning_rate=rate,
        dynamics=ns.dynamics.gradient_flow(),
        everywhere=True,
        tolerance=1e-11,
    )
    field = np.moveaxis(p.field.values[0], -1, 0)
    return ((field - values)[:, ~mask] ** 2).mean(axis=1)


@pytest.mark.parametrize(
    ("mapping", "shape", "stride"),
    [
        (ns.mapping.power_law(6, p=0.5), (24,), 2),
        (ns.mapping.power_law(6, p=0.5), (24,), 4),
        (ns.mapping.from_frequencies([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), (8, 12), 2),
    ],
)
@pytest.mark.parametrize("time", [0.0, 3.0, 1e3])
def test_lattice_error_is_that_of_a_prediction(mapping, shape, stride, time, rng):
    values = rng.standard_normal((3, *shape))
    k = behind(mapping)
    found = lattice_error(k, values, stride, time)
    np.testing.assert_allclose(found, predicted_error(k, values, stride, time), rtol=1e-8)


def test_lattice_error_is_differentiable_where_a_mode_has_no_rate():
    # e_1 alone leaves frequencies that the kernel of one hidden layer does not reach.
    k = behind(ns.mapping.power_law(4, p=np.inf))
    values = np.cos(2 * np.pi * 3 * np.arange(16) / 16)[None]
    gradient = jax.grad(lambda a: lattice_error(behind(ns.mapping.with_amplitudes(k.mapping, a)), values, 2, 5.0)[0])
    assert np.isfinite(gradient(k.mapping.amplitudes)).all()


@pytest.mark.parametrize(
    ("mapping", "shape", "stride", "message"),
    [
        (ns.mapping.gaussian(1, 4, scale=2.0), (32,), 2, "kernel of period 1"),
        (ns.mapping.identity(1), (32,), 2, "kernel of period 1"),
        (ns.mapping.gaussian_limit(1, scale=2.0), (32,), 2, "kernel of period 1"),
        (ns.mapping.power_law(4, p=1.0), (32,), 3, "divisor"),
        (ns.mapping.power_law(4, p=1.0), (8, 8), 2, "with 1 axes"),
    ],
)
def test_lattice_error_refuses_what_its_formula_does_not_hold_for(mapping, shape, stride, message):
    values = np.ones((1, *shape))
    with pytest.raises(ValueError, match=message):
        lattice_error(behind(mapping), values, stride, 1.0)


def test_traced_amplitudes_hide_no_fractional_frequency():
    mapping = ns.mapping.from_frequencies([[1.0], [1.5]])
    error = jax.jit(lambda a: lattice_error(behind(ns.mapping.with_amplitudes(mapping, a)), np.ones((1, 8)), 2, 1.0))
    with pytest.raises(ValueError, match="kernel of period 1"):
        error(mapping.amplitudes)
    # A kernel that is an argument has traced frequencies: it is taken at its word.
    k = behind(ns.mapping.power_law(3, p=1.0))
    values = np.eye(1, 8)
    traced = jax.jit(lattice_error, static_argnames="stride")(k, values, stride=2, time=1.0)
    np.testing.assert_allclose(traced, lattice_error(k, values, 2, 1.0), rtol=1e-12)


def power_law_signals(alpha, count, seed, n=128):
    rng = np.random.default_rng(seed)
    wave = np.arange(n)
    amplitude = (1.0 + np.minimum(wave, n - wave)) ** -alpha
    z = rng.standard_normal((2, count, n))
    values = np.fft.ifft((z[0] + 1j * z[1]) * amplitude).real
    return values / np.ptp(values)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_tuned_amplitudes_beat_every_power_law_on_other_signals(alpha):
    k = behind(ns.mapping.power_law(32, p=0.0))
    train, test = power_law_signals(alpha, 64, seed=1), power_law_signals(alpha, 64, seed=2)
    tuned = tune_amplitudes(k, train, time=5.0, iterations=300)
    own = behind(ns.mapping.with_amplitudes(k.mapping, tuned.amplitude.values))
    laws = [behind(ns.mapping.power_law(32, p)) for p in (*np.linspace(0, 2, 9), np.inf)]
    best = min(float(lattice_error(law, test, 2, 5.0).mean()) for law in laws)
    assert float(lattice_error(own, test, 2, 5.0).mean()) < best
    assert tuned.loss[-1] < tuned.loss[0]
    np.testing.assert_allclose((tuned.amplitude**2).sum(), 1)


def test_the_loss_is_the_error_of_the_amplitudes():
    k = behind(ns.mapping.power_law(8, p=0.0))
    values = power_law_signals(1.0, 4, seed=0, n=32)
    tuned = tune_amplitudes(k, values, time=5.0, iterations=3, learning_rate=1e-12)
    own = behind(ns.mapping.with_amplitudes(k.mapping, tuned.amplitude.values))
    np.testing.assert_allclose(tuned.loss, float(lattice_error(own, values, 2, 5.0).mean()), rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": behind(ns.mapping.gaussian(1, 4, scale=1.0))}, "whole frequencies"),
        ({"values": np.zeros(32)}, "expected \\(signals"),
        ({"values": np.full((1, 32), np.nan)}, "NaN"),
        ({"values": np.ones((1, 32))}, "constant"),
        ({"stride": 3}, "divisor"),
        ({"stride": 1}, "at least 2"),
        ({"time": -1.0}, "time"),
        ({"iterations": 0}, "iterations"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_bad_input_is_refused(change, message):
    options = {"k": behind(ns.mapping.power_law(4, p=1.0)), "values": np.eye(1, 32), "time": 1.0} | change
    with pytest.raises(ValueError, match=message):
        tune_amplitudes(options.pop("k"), options.pop("values"), **options)

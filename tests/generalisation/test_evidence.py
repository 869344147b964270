import numpy as np
import pytest
import scipy.optimize
from scipy.stats import multivariate_normal

import ntkspec as ns
from ntkspec.generalisation import Sampling
from ntkspec.limits import limited
from ntkspec.prediction import ConvergenceWarning

KINDS = ["lattice odd", "lattice even", "circulant", "masked", "dense", "low rank", "measured"]
NOISE = 0.01


def labels(K, channels=2):
    return np.random.default_rng(1).standard_normal((K.num_points, channels))


def log_density(gram, y, noise):
    normal = multivariate_normal(np.zeros(len(gram)), gram + noise * np.eye(len(gram)))
    return sum(normal.logpdf(column) for column in y.T)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_log_density_of_the_labels(operators, kind):
    K = operators[kind]
    expected = log_density(np.asarray(K.to_dense()), labels(K), NOISE)
    for given in (K, ns.generalisation.decompose(K)):
        found = ns.generalisation.evidence(given, labels(K), noise=NOISE)
        # The data fit is a sum of squares over rounded eigenvalues as small as the noise.
        assert float(found.evidence) == pytest.approx(expected, rel=1e-8)
        constant = -K.num_points * np.log(2 * np.pi)
        assert float(found.data_fit + 2 * found.complexity + constant) == pytest.approx(expected, rel=1e-8)


def test_the_best_scale_is_at_the_maximum(operators):
    K = operators["masked"]
    gram, y = np.asarray(K.to_dense()), labels(K)
    best = scipy.optimize.minimize_scalar(
        lambda log: -log_density(np.exp(log) * (gram + NOISE * np.eye(len(gram))), y, 0.0), bracket=(-3, 3), tol=1e-10
    )
    found = ns.generalisation.scaled_evidence(K, y, noise=NOISE)
    assert float(found.evidence) == pytest.approx(-best.fun, rel=1e-10)
    assert float(found["scale"]) == pytest.approx(np.exp(best.x), rel=1e-4)
    assert float(found.noise_variance) == pytest.approx(NOISE * np.exp(best.x), rel=1e-4)


@pytest.mark.parametrize("kind", ["lattice even", "masked"])
@pytest.mark.parametrize("function", ["evidence", "scaled_evidence"])
def test_by_products_only_within_its_error_bars(operators, kind, function):
    K = operators[kind]
    of = getattr(ns.generalisation, function)
    with limited(exact_points=0):
        found = of(K, labels(K), noise=0.1, sampling=Sampling(num_probes=64, num_exact=2))
    exact = of(K, labels(K), noise=0.1)
    assert found.attrs["converged"] == 1
    assert 0 < found.standard_error < 0.1 * abs(exact.evidence)
    assert abs(found.evidence - exact.evidence) < 5 * found.standard_error + found.numerical_error
    assert float(exact.standard_error) == float(exact.numerical_error) == 0


def test_the_error_of_an_approximation_is_covered(kernels):
    points = np.random.default_rng(7).random((40, 1))
    exact = ns.operator.dense(kernels["1d"], points)
    low = ns.operator.low_rank(kernels["1d"], points, tol=1e-3)
    y = labels(exact)
    noise = 3 * low.approximation_error
    found = ns.generalisation.evidence(low, y, noise=noise)
    distance = abs(found.evidence - ns.generalisation.evidence(exact, y, noise=noise).evidence)
    assert 0 < distance <= found.numerical_error


def test_a_data_fit_cut_short_says_so(products_only):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 32, scale=20.0), ns.kernel.MLP(depth=1))
    K = ns.operator.lattice(k, (512,))
    with pytest.warns(ConvergenceWarning):
        found = ns.generalisation.evidence(K, labels(K), noise=1e-6, sampling=Sampling(max_steps=16))
    assert found.attrs["converged"] == 0


def test_bad_input_is_refused(operators):
    K, low = operators["dense"], operators["low rank"]
    with pytest.raises(ValueError, match="one number δ ≥ 0"):
        ns.generalisation.evidence(K, labels(K), noise=np.nan)
    with pytest.raises(ValueError, match="approximation error of this operator"):
        ns.generalisation.evidence(low, labels(low), noise=low.approximation_error / 2)
    with pytest.raises(ValueError, match="all 0"):
        ns.generalisation.scaled_evidence(K, np.zeros(K.num_points), noise=0.1)
    with pytest.raises(TypeError, match="expected an operator"):
        ns.generalisation.evidence(np.eye(3), np.ones(3), noise=0.1)


def test_by_products_the_noise_must_be_resolved(operators, products_only):
    K = operators["dense"]
    with pytest.raises(ValueError, match="rounding of a product"):
        ns.generalisation.evidence(K, labels(K), noise=0.0)

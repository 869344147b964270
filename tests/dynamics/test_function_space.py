"""Any convex loss against scipy's solver on dense matrices, and the squared loss against gradient flow itself."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

import ntkspec as ns

D = ns.dynamics
STEPS = [0.0, 1.0, 10.0, 60.0]


@pytest.fixture(scope="module")
def problem(masked, lattices, kernels):
    K, _ = masked["1d"]
    cross = np.asarray(kernels["1d"].ntk(lattices["1d"].points, K.points))
    y = (np.random.default_rng(4).random((K.num_points, 2)) > 0.5).astype(float)
    return K, np.asarray(K.to_dense()), cross, y


def squared(f, y):
    return (f - y) ** 2 / 2


SLOPES = {
    "logistic": (D.logistic, lambda f, y: scipy.special.expit(f) - y),
    "huber": (D.huber(0.3), lambda f, y: np.clip(f - y, -0.3, 0.3)),
}


# A loss is two programs more to compile.
@pytest.mark.parametrize("name", ["logistic", pytest.param("huber", marks=pytest.mark.slow)])
def test_flow_is_the_ode_on_dense_matrices(name, problem):
    K, matrix, cross, y = problem
    point_loss, slope = SLOPES[name]
    rate = 1 / np.linalg.norm(matrix, 2)
    p = D.function_space_flow(
        K, y, point_loss=point_loss, steps=STEPS, learning_rate=rate, everywhere=True, solver=D.Solver(tolerance=1e-11)
    )

    def velocity(_, w):
        return -rate * slope(matrix @ w.reshape(y.shape), y).ravel()

    solved = scipy.integrate.solve_ivp(
        velocity, (0, STEPS[-1]), np.zeros(y.size), "DOP853", t_eval=STEPS, rtol=1e-12, atol=1e-13, max_step=0.2
    )
    weights = solved.y.T.reshape(len(STEPS), *y.shape)
    np.testing.assert_allclose(p.train, matrix @ weights, rtol=0, atol=1e-9)
    np.testing.assert_allclose(p.field, cross @ weights, rtol=0, atol=1e-9)
    assert (np.diff(p.loss) < 0).all()


def test_a_squared_loss_is_gradient_flow_and_the_mean_is_slower(problem):
    K, matrix, _, y = problem
    rate = 1 / np.linalg.norm(matrix, 2)
    options = {"point_loss": squared, "steps": STEPS, "solver": D.Solver(tolerance=1e-11)}
    p = D.function_space_flow(K, y, learning_rate=rate, **options)
    flow = ns.predict(K, y, steps=STEPS, learning_rate=rate, dynamics=D.gradient_flow(), tolerance=1e-10)
    np.testing.assert_allclose(p.train, flow.train, rtol=0, atol=1e-9)
    np.testing.assert_allclose(p.loss, flow.loss, rtol=1e-8)
    mean = D.function_space_flow(K, y, learning_rate=rate * len(y), loss="mean", **options)
    np.testing.assert_allclose(mean.train, p.train, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean.loss * len(y), p.loss, rtol=1e-12)


def test_the_error_estimate_is_above_the_error_and_not_idle(problem):
    K, matrix, _, y = problem
    rate = 1 / np.linalg.norm(matrix, 2)
    options = {"point_loss": squared, "steps": STEPS, "learning_rate": rate}
    rough = D.function_space_flow(K, y, **options, solver=D.Solver(tolerance=1e-3))
    flow = ns.predict(K, y, steps=STEPS, learning_rate=rate, dynamics=D.gradient_flow(), tolerance=1e-10)
    error = np.sqrt(((rough.train - flow.train) ** 2).sum(("point", "channel")))
    scale = float(np.sqrt((rough.train**2).sum(("point", "channel"))).max())
    assert (error <= rough.error_estimate * scale + 1e-12).all()
    assert 1e-7 < float(rough.error_estimate.max()) < 1e-2


def test_what_is_refused(problem):
    K, _, _, y = problem
    options = {"steps": STEPS, "learning_rate": 0.1}
    with pytest.raises(ValueError, match=r"is not convex in f .its slope falls by"):
        D.function_space_flow(K, y, point_loss=lambda f, y: 1 - jnp.exp(-((f - y) ** 2)), **options)
    with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given"):
        D.function_space_flow(K, y, point_loss=lambda f: f, **options)
    with pytest.raises(ValueError, match=r"by nan of itself"):
        D.function_space_flow(K, y, point_loss=lambda f, y: jnp.sqrt(f), **options)
    with pytest.raises(RuntimeError, match=r"operator products did not reach step 60"):
        D.function_space_flow(K, y, point_loss=D.logistic, solver=D.Solver(max_products=20), **options)
    with pytest.raises(ValueError, match=r"from -1 to 1: map them by \(y \+ 1\)/2.*for labels in \[0, 1\]"):
        D.function_space_flow(K, np.sign(np.asarray(y) - 0.5), point_loss=D.logistic, **options)
    with pytest.raises(ValueError, match=r"y.max\(\) − y.min\(\).*for labels in \[0, 1\]"):
        D.function_space_flow(K, np.asarray(y) + 1, point_loss=D.logistic, **options)
    with pytest.raises(ValueError, match=r"threshold=0; expected a positive"):
        D.huber(0)

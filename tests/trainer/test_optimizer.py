"""Every optimizer against the recursion or the optax transformation that it names."""

import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ntkspec as ns
from ntkspec.trainer._optimizer import build, is_rateless
from ntkspec.training import OWN, Optimizer


def trained_by(r):
    return ns.trainer.Training.from_json(r.attrs["training"])


X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])
STEPS = [0, 1, 2, 7]
#: What has a learning rate and does not train by its name, and why.
UNNAMED = {
    "ScaleByBacktrackingLinesearchState": "a state",
    "ScaleByZoomLinesearchState": "a state",
    "scale_by_backtracking_linesearch": "a part of an optimizer",
    "scale_by_learning_rate": "a part of an optimizer",
    "scale_by_madgrad": "a part of an optimizer",
    "scale_by_polyak": "a part of an optimizer",
    "scale_by_rprop": "a part of an optimizer",
    "scale_by_zoom_linesearch": "a part of an optimizer",
    "dpsgd": "asks for a norm to clip at, a noise and a seed, and for gradients of single points",
    "schedule_free": "asks for another optimizer",
    "sophia": "asks for a function of the loss's own",
}


def with_a_rate(module):
    """Everything public of a module that takes a learning rate, but for `UNNAMED`."""
    public = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    rates = {"learning_rate", "max_learning_rate"}
    takes = [name for name, one in public.items() if callable(one) and rates & set(parameters_of(one))]
    return [name for name in takes if name not in UNNAMED]


def parameters_of(one):
    try:
        return inspect.signature(one).parameters
    except ValueError:
        return {}


NAMES, CONTRIBUTED = with_a_rate(optax), with_a_rate(optax.contrib)


def stability_limit(k, x, y, **options):
    return ns.trainer.stability_limit(ns.trainer.plan(k, x, y, steps=[0], training=ns.trainer.Training(**options)))


@pytest.fixture(scope="module")
def k():
    return ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))


def by_hand(k, move, state, steps=STEPS, rate=0.02):
    """f − f_0 of network 0 in float64, under ``params, state = move(gradient at, params, state)``."""
    params = ns.trainer._ensemble.initialise(k.network, 0, 1, k.mapping.num_features, 1, "float64")
    params = jax.tree.map(lambda leaf: leaf[0], params)
    features = k.mapping(X)
    start = k.network.apply(params, features)

    def loss(params):
        return ((k.network.apply(params, features) - start - Y[:, None]) ** 2).sum() / 2

    memory, found = state(params), []
    for step in range(steps[-1] + 1):
        if step in steps:
            found.append(np.asarray(k.network.apply(memory["w"], features) - start)[:, 0])
        memory = move(jax.grad(loss), memory, rate)
    return np.stack(found)


def heavy_ball(gradient, memory, rate, beta=0.9):
    w, before = memory["w"], memory["before"]
    new = jax.tree.map(lambda a, b, g: a + beta * (a - b) - rate * g, w, before, gradient(w))
    return {"w": new, "before": w}


def nesterov(gradient, memory, rate, beta=0.9):
    w, before = memory["w"], memory["before"]
    ahead = jax.tree.map(lambda a, b: a + beta * (a - b), w, before)
    return {"w": jax.tree.map(lambda v, g: v - rate * g, ahead, gradient(ahead)), "before": w}


@pytest.mark.parametrize(("name", "move"), [("heavy_ball", heavy_ball), ("nesterov", nesterov)])
def test_momentum_is_the_recursion_that_theory_has(name, move, k):
    expected = by_hand(k, move, lambda params: {"w": params, "before": params})
    r = ns.trainer.train(k, X, Y, steps=STEPS, learning_rate=0.02, optimizer=name, seeds=1, dtype="float64")
    np.testing.assert_allclose(r.train[0], expected, rtol=0, atol=1e-13)
    assert trained_by(r).optimizer == Optimizer.of(name)
    assert trained_by(r).optimizer.has_theory


def test_momentum_is_an_option(k):
    gentle = ns.trainer.optimizer("heavy_ball", momentum=0.0)
    options = {"steps": STEPS, "learning_rate": 0.02, "seeds": 1, "dtype": "float64"}
    r, plain = ns.trainer.train(k, X, Y, optimizer=gentle, **options), ns.trainer.train(k, X, Y, **options)
    np.testing.assert_allclose(r.train, plain.train, rtol=0, atol=1e-14)
    assert trained_by(r).optimizer == gentle


@pytest.mark.parametrize("name", ["gradient_descent", "heavy_ball", "nesterov"])
def test_wide_networks_follow_the_filter_of_their_dynamics(name):
    k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=4096))
    K = ns.operator.lattice(k, (8,))
    dynamics = getattr(ns.dynamics, name)()
    # A step of momentum is worth 1/(1 − β): the same way is gone in the same steps.
    rate = ns.dynamics.max_learning_rate(K, dynamics=dynamics) / 4 / dynamics.acceleration
    options = {"steps": [0, 1, 5, 10], "learning_rate": rate}
    r = ns.trainer.train(k, X, Y, optimizer=name, seeds=8, **options)
    v = ns.validate(ns.predict(K, Y, dynamics=dynamics, **options), r)
    # The mean of eight networks: 1/√(8 · 4096) of the signal, a few times.
    assert float(v.ensemble_error.max()) < 0.03


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "sgd"])
def test_every_optax_optimizer_trains_by_name(name, k):
    r = ns.trainer.train(k, X, Y, steps=[0, 2], optimizer=name, seeds=2, learning_rate=1e-3)
    assert np.isfinite(r.train).all()
    assert np.abs(r.train.sel(step=2)).max() > 0
    assert str(trained_by(r).optimizer) == name
    assert not trained_by(r).optimizer.has_theory


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", CONTRIBUTED)
def test_every_contributed_optimizer_may_be_named(name, k):
    training = ns.trainer.Training(optimizer=f"contrib.{name}")
    ns.trainer.plan(k, X, Y, steps=[2], training=training, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("named", "ours", "inner"),
    [
        ("sgd", "gradient_descent", optax.sgd(0.02)),
        ("sgd(momentum=0.5)", "heavy_ball(momentum=0.5)", optax.sgd(0.02, momentum=0.5)),
        ("sgd(momentum=0.5, nesterov=False)", "heavy_ball(momentum=0.5)", optax.sgd(0.02, momentum=0.5)),
    ],
)
def test_sgd_is_what_theory_knows_it_as(named, ours, inner, k):
    options = {"steps": STEPS, "seeds": 1, "dtype": "float64"}
    r = ns.trainer.train(k, X, Y, optimizer=named, learning_rate=0.02, **options)
    expected = ns.trainer.train(k, X, Y, optimizer=inner, **options)
    np.testing.assert_allclose(r.train, expected.train, rtol=0, atol=1e-13)
    assert trained_by(r).optimizer == Optimizer.of(ours)
    assert trained_by(r).optimizer.has_theory


def test_sgd_with_nesterovs_momentum_takes_the_steps_that_theory_knows():
    ours = Optimizer.of("sgd(momentum=0.5, nesterov=True)")
    assert str(ours) == "nesterov(momentum=0.5)"
    theirs = optax.sgd(0.02, momentum=0.5, nesterov=True)
    moved = []
    for one in (build(ours, jnp.asarray(0.02), jax.random.key(0)), theirs):
        v, state = jnp.array([1.0, -2.0]), one.init(jnp.zeros(2))
        for _ in range(5):
            update, state = one.update(jnp.sin(v), state, v)
            v = v + update
        moved.append(v)
    np.testing.assert_allclose(*moved, rtol=1e-14)
    # What it counts in is not of theory.
    assert not Optimizer.of("sgd(momentum=0.5, accumulator_dtype='bfloat16')").has_theory


def test_there_are_optimizers_in_optax():
    assert {"adam", "adamw", "lbfgs", "lion", "nadam", "nadamw", "sgd", "polyak_sgd"} <= set(NAMES)
    assert {"muon", "schedule_free_adamw", "momo_adam"} <= set(CONTRIBUTED)


def test_schedule_free_methods_are_recorded_where_their_gradient_is(k):
    inner = optax.contrib.schedule_free_sgd(0.02)

    def move(gradient, memory, rate):
        update, state = inner.update(gradient(memory["w"]), memory["state"], memory["w"])
        return {"w": optax.apply_updates(memory["w"], update), "state": state}

    expected = by_hand(k, move, lambda params: {"w": params, "state": inner.init(params)})
    options = {"steps": STEPS, "learning_rate": 0.02, "seeds": 1, "dtype": "float64"}
    r = ns.trainer.train(k, X, Y, optimizer="contrib.schedule_free_sgd", **options)
    np.testing.assert_allclose(r.train[0], expected, rtol=0, atol=1e-13)


def test_adam_is_optax_adam(k):
    inner = optax.adam(0.02, b1=0.8)

    def move(gradient, memory, rate):
        update, state = inner.update(gradient(memory["w"]), memory["state"])
        return {"w": optax.apply_updates(memory["w"], update), "state": state}

    expected = by_hand(k, move, lambda params: {"w": params, "state": inner.init(params)})
    options = {"steps": STEPS, "seeds": 1, "dtype": "float64"}
    named = ns.trainer.optimizer("adam", b1=0.8)
    for given in ({"optimizer": named, "learning_rate": 0.02}, {"optimizer": inner}):
        r = ns.trainer.train(k, X, Y, **given, **options)
        # A gradient that is rounding alone, of 1e-16, is a step of η 1e-16/1e-8 to Adam; there are 80 parameters.
        np.testing.assert_allclose(r.train[0], expected, rtol=0, atol=1e-8)
    assert np.isnan(r.attrs["learning_rate"])
    assert json.loads(r.attrs["training"])["optimizer"] == {"custom": "optax.chain"}


def test_an_optimizer_may_search_along_a_line(k):
    r = ns.trainer.train(k, X, Y, steps=[0, 10], optimizer="lbfgs", seeds=2)
    assert (r.loss.sel(step=10) < 0.05 * r.loss.sel(step=0)).all()


@pytest.mark.parametrize("name", ["gradient_descent", "heavy_ball", "nesterov"])
@pytest.mark.parametrize("loss", ["sum", "mean"])
def test_the_default_rate_is_half_of_the_limit_of_the_networks_own_kernel(name, loss, k):
    options = {"loss": loss, "optimizer": name, "seeds": 1, "dtype": "float64"}
    r = ns.trainer.train(k, X, Y, steps=[0, 1], **options)
    params = ns.trainer._ensemble.initialise(k.network, 0, 1, k.mapping.num_features, 1, "float64")
    params = jax.tree.map(lambda leaf: leaf[0], params)
    jacobian = jax.jacobian(lambda p: k.network.apply(p, k.mapping(X))[:, 0])(params)
    J = np.concatenate([np.asarray(leaf).reshape(8, -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
    largest = np.linalg.eigvalsh(J @ J.T)[-1] / (8 if loss == "mean" else 1)
    limit = getattr(ns.dynamics, name)().max_speed / largest
    # Rounded down to three digits.
    assert 0.99 < r.attrs["learning_rate"] / (limit / 2) <= 1
    assert (r.loss.sel(step=1) < r.loss.sel(step=0)).all()


def largest_eigenvalue(k, x):
    """Of the kernel of the first network."""
    params = ns.trainer._ensemble.initialise(k.network, 0, 1, k.mapping.num_features, 1, "float64")
    return np.linalg.eigvalsh(ns.empirical.ntk(k, jax.tree.map(lambda leaf: leaf[0], params), x))[-1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("activation", "width", "x"),
    [
        # Kernels of few eigenvalues that are not zero, which a recurrence of 16 products outlasts.
        ("identity", 64, np.arange(40)[:, None] / 40),
        ("identity", 256, np.arange(64)[:, None] / 64),
        ("relu", 64, np.repeat(np.arange(4), 10)[:, None] / 4),
        ("relu", 2, np.arange(40)[:, None] / 40),
    ],
)
def test_the_limit_of_kernels_of_low_rank_is_that_of_their_largest_eigenvalue(activation, width, x, dtype):
    k = ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(depth=2, width=width, activation=activation))
    y = np.sin(2 * np.pi * x[:, 0]) + 0.1
    limit = stability_limit(k, x, y, dtype=dtype)
    np.testing.assert_allclose(limit, 2 / largest_eigenvalue(k, x), rtol=1e-4)


def test_the_default_rate_of_a_loss_that_bends_near_its_labels_is_stable_there(k):
    options = {"steps": [0, 500], "seeds": 2, "point_loss": ns.dynamics.huber(0.1)}
    found = {dtype: ns.trainer.train(k, X, Y, dtype=dtype, **options) for dtype in ("float32", "float64")}
    for r in found.values():
        # All points are near in the end, and the curvature is that of squares.
        assert 0.99 < r.attrs["learning_rate"] * largest_eigenvalue(k, X) <= 1
        assert (r.loss.sel(step=500) < 1e-3 * r.loss.sel(step=0)).all()


def test_a_curvature_that_is_infinite_at_a_label_is_passed_over(k):
    y = np.where(np.arange(len(X)) == 3, 0, Y)
    assert 0 < stability_limit(k, X, y, point_loss=lambda f, y: abs(f - y) ** 1.5) < np.inf


def test_without_a_curvature_there_is_no_default_rate(k):
    absolute = {"point_loss": lambda f, y: abs(f - y)}
    assert stability_limit(k, X, Y, **absolute) == np.inf
    with pytest.raises(ValueError, match=r"no stability limit .* the loss has no curvature, as \|f - y\| has none"):
        ns.trainer.train(k, X, Y, steps=[1], **absolute)


@pytest.mark.parametrize("name", ["gradient_descent", "heavy_ball", "nesterov", "heavy_ball(momentum=0.5)"])
def test_the_noise_of_batches_is_borne_up_to_the_limit_with_momentum(name):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=3.0), ns.kernel.MLP(depth=1, width=32))
    x = np.arange(16)[:, None] / 16
    y = np.sin(2 * np.pi * x[:, 0])
    whole, small = (stability_limit(k, x, y, optimizer=name, batch_size=b) for b in (None, 4))
    plain, noisy = (stability_limit(k, x, y, batch_size=b) for b in (None, 4))
    beta = {"gradient_descent": 0.0, "heavy_ball(momentum=0.5)": 0.5}.get(name, 0.9)
    # In units of λ: gradient descent tells ν.
    nu, share = plain / noisy - 1, small / (plain / 2)

    def radius(eta, mean):
        """Of the step of the second moment of a mode whose eigenvalue has a mean and the variance ν times that."""
        if "nesterov" in name:
            ahead = np.array([1 + beta, -beta])
            A, B = np.array([(1 - eta * mean) * ahead, [1, 0]]), np.array([-eta * ahead, [0, 0]])
        else:
            A, B = np.array([[1 + beta - eta * mean, -beta], [1, 0]]), np.array([[-eta, 0], [0, 0]])
        return np.abs(np.linalg.eigvals(np.kron(A, A) + mean * nu * np.kron(B, B))).max()

    assert small < whole
    assert all(radius(0.999 * share, mean) < 1 for mean in (1.0, 0.1, 1e-3))
    # For Nesterov's method it errs downwards.
    assert max(radius((2 if name == "nesterov" else 1.01) * share, mean) for mean in (1.0, 1e-4)) > 1
    r = ns.trainer.train(k, x, y, steps=[0, 1000], seeds=2, optimizer=name, batch_size=4)
    assert (r.loss.sel(step=1000) < 0.1 * r.loss.sel(step=0)).all()


def test_a_loss_that_bends_near_labels_of_a_sigmoid_has_a_limit(k):
    near = {"output": "sigmoid", "point_loss": ns.dynamics.huber(0.05)}
    # Half of the way to 0 and 1 is farther than that.
    limit = stability_limit(k, X, 0.5 + 0.25 * np.sign(Y), **near)
    # Its slope is a quarter at most.
    assert limit == pytest.approx(16 * 2 / largest_eigenvalue(k, X), rel=1e-4)


def test_batches_and_learned_mappings_lower_the_limit(k):
    whole = stability_limit(k, X, Y)
    assert stability_limit(k, X, Y, batch_size=1) < whole
    assert stability_limit(k, X, Y, trainable=("frequencies",)) < whole
    assert np.isnan(stability_limit(k, X, Y, optimizer="adam"))


def test_the_default_rate_of_the_others_is_theirs(k):
    options = {"steps": [0, 1], "seeds": 1}
    assert ns.trainer.train(k, X, Y, optimizer="adam", **options).attrs["learning_rate"] == 1e-3
    assert ns.trainer.train(k, X, Y, optimizer="adafactor", **options).attrs["learning_rate"] == 1e-2
    assert np.isnan(ns.trainer.train(k, X, Y, optimizer="lbfgs", **options).attrs["learning_rate"])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("madam", ValueError, "optimizer='madam'; expected one of gradient_descent, heavy_ball, nesterov, .*adam"),
        ("scale_by_adam", ValueError, "optimizer='scale_by_adam'; expected one of"),
        ("adam(0.8)", ValueError, r"optimizer='adam\(0.8\)' cannot be read; .* as in 'heavy_ball\(momentum=0.5\)'"),
        ("adam(b1=", ValueError, "cannot be read"),
        ("adam(**{})", ValueError, r"optimizer='adam\(\*\*\{\}\)' cannot be read; .* as in 'heavy_ball"),
        ("adam(beta=1)", ValueError, "optimizer adam has no setting beta"),
        (3, TypeError, "optimizer is a int; expected a name such as 'adam'"),
    ],
)
def test_what_is_no_optimizer_is_refused(given, error, message, k):
    with pytest.raises(error, match=message):
        ns.trainer.train(k, X, Y, steps=[1], optimizer=given)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("heavy_ball", {"momentum": 1.0}, r"momentum=1\.0; expected a number in \[0, 1\)"),
        ("gradient_descent", {"momentum": 0.5}, "has no setting momentum; it takes none but the learning rate"),
        ("adam", {"beta": 0.5}, "optimizer adam has no setting beta; it takes b1, b2"),
        ("adam", {"learning_rate": 0.5}, "the rate is train's own learning_rate"),
    ],
)
def test_settings_that_are_none_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        ns.trainer.optimizer(name, **options)


def test_what_cannot_be_a_setting_is_refused():
    with pytest.raises(TypeError, match="optimizer is a int; expected a name such as 'adam'"):
        ns.trainer.optimizer(3)
    with pytest.raises(TypeError, match="setting mask of optimizer adamw is a list; expected a number, a tuple or a"):
        ns.trainer.optimizer("adamw", mask=[True])


def test_an_optax_object_has_a_rate_of_its_own(k):
    with pytest.raises(ValueError, match=r"learning_rate=0\.1, and the optimizer \(optax\.chain\) was built with"):
        ns.trainer.train(k, X, Y, steps=[1], optimizer=optax.adam(0.1), learning_rate=0.1)


def test_the_own_ones_are_those_of_dynamics():
    assert all(getattr(ns.dynamics, name)().max_speed == ns.trainer.optimizer(name).limit for name in OWN)


@pytest.mark.parametrize("name", ["adadelta", "adafactor"])
def test_without_a_rate_the_loss_falls(name, k):
    r = ns.trainer.train(k, X, Y, steps=[0, 60], optimizer=name, seeds=2)
    assert r.attrs["learning_rate"] > 0
    assert (r.loss.isel(step=1) < r.loss.isel(step=0)).all()


def test_one_that_searches_needs_no_rate():
    assert is_rateless(ns.trainer.optimizer("lbfgs"))
    assert not is_rateless(ns.trainer.optimizer("adam"))


def test_settings_of_the_wrong_kind_in_text_are_a_wrong_value():
    with pytest.raises(ValueError, match="b1"):
        Optimizer.of("adam(b1=[0.9])")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("contrib.sophia", "contrib.sophia cannot take a step: obj_fn must be provided"),
        (optax.contrib.sophia(1e-3), "cannot take a step: obj_fn must be provided"),
        ('adam(b1="a")', r"optimizer adam\(b1='a'\) cannot take a step"),
        (optax.stateless(lambda updates, params: 1 // 0), "cannot take a step: integer division or modulo by zero"),
        ('heavy_ball(momentum="a")', "momentum='a'; expected a number in"),
    ],
)
def test_what_cannot_take_a_step_is_refused_in_words(given, message, k):
    with pytest.raises(ValueError, match=message):
        ns.trainer.plan(k, X, Y, steps=[1], training=ns.trainer.Training(optimizer=given))

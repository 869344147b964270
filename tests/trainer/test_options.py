"""What is trained: outputs, losses, initialisations, learned mappings, batches, schedules, precisions, observers."""

import os
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec.trainer._ensemble import initialise


def trained_by(r, **objects):
    return ns.trainer.Training.from_json(r.attrs["training"], **objects)


X = np.arange(8)[:, None] / 8
Y = 0.5 + 0.4 * np.sin(2 * np.pi * X[:, 0])
OPTIONS = {"steps": [0, 1, 4], "learning_rate": 0.05, "seeds": 2, "dtype": "float64"}


@pytest.fixture(scope="module")
def k():
    return ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))


@pytest.fixture(scope="module")
def plain(k):
    return ns.trainer.train(k, X, Y, **OPTIONS)


def params_of(k, i=0):
    stacked = initialise(k.network, 0, 2, k.mapping.num_features, 1, "float64")
    return jax.tree.map(lambda leaf: leaf[i], stacked)


def descent(loss, params, read, steps, rate):
    found = []
    for step in range(steps[-1] + 1):
        if step in steps:
            found.append(np.asarray(read(params))[:, 0])
        params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))
    return np.stack(found)


@pytest.mark.parametrize(
    ("options", "link", "each"),
    [
        ({"output": "sigmoid"}, jax.nn.sigmoid, lambda f, y: (jax.nn.sigmoid(f) - y) ** 2 / 2),
        ({"loss": "logistic"}, lambda f: f, ns.dynamics.logistic),
        ({"loss": "logistic", "output": "sigmoid"}, jax.nn.sigmoid, ns.dynamics.logistic),
        ({"point_loss": ns.dynamics.huber(0.1)}, lambda f: f, ns.dynamics.huber(0.1)),
        (
            {"point_loss": ns.dynamics.logistic, "loss": "mean"},
            lambda f: f,
            lambda f, y: ns.dynamics.logistic(f, y) / 8,
        ),
    ],
    ids=["sigmoid", "logistic", "logistic of a sigmoid", "huber", "mean logistic"],
)
def test_outputs_and_losses_are_what_they_say(options, link, each, k):
    r = ns.trainer.train(k, X, Y, **OPTIONS, **options)
    start = k.network.apply(params_of(k), k.mapping(X))

    def f(params):
        return k.network.apply(params, k.mapping(X)) - start

    expected = descent(lambda p: each(f(p), Y[:, None]).sum(), params_of(k), lambda p: link(f(p)), [0, 1, 4], 0.05)
    np.testing.assert_allclose(r.train[0], expected, rtol=0, atol=1e-13)
    if "sigmoid" in options.values():
        assert (r.train.sel(step=0) == 0.5).all()
        assert trained_by(r).output == "sigmoid"
        # Not zero: what a prediction without `initial` starts from is another function.
        assert r.attrs["starts_from_zero"] == 0
    losses = np.asarray(each(f(params_of(k)), Y[:, None])).sum()
    np.testing.assert_allclose(r.loss[0, 0], losses, rtol=1e-12)
    assert (r.loss.sel(step=4) < r.loss.sel(step=0)).all()


@pytest.mark.parametrize(("name", "deviation"), [("glorot", (2 / 260) ** 0.5), ("siren", 1 / 4 / 3**0.5)])
def test_initialisations_are_those_of_their_sources(name, deviation):
    net = ns.kernel.MLP(depth=2, width=256, parametrization="standard", activation="siren")
    params = initialise(net, 0, 4, 4, 1, "float64", name)
    first, second, last = params
    # 4 · 1,024 and 4 · 65,536 draws: five standard errors.
    assert np.std(first["w"]) == pytest.approx(deviation, rel=0.08)
    hidden = (6 / 256) ** 0.5 / 30 / 3**0.5 if name == "siren" else (2 / 512) ** 0.5
    assert np.std(second["w"]) == pytest.approx(hidden, rel=0.01)
    assert np.std(second["b"]) == pytest.approx(1 / 16 / 3**0.5 if name == "siren" else 1e-2, rel=0.12)
    assert not np.allclose(first["w"][0], first["w"][1])
    if name == "siren":
        assert np.abs(first["w"]).max() <= 1 / 4
        assert np.abs(last["w"]).max() <= (6 / 256) ** 0.5 / 30


def test_an_initialisation_changes_the_training():
    net = ns.kernel.MLP(depth=1, width=16, parametrization="standard")
    k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), net)
    own, glorot = (ns.trainer.train(k, X, Y, init=init, **OPTIONS) for init in ("network", "glorot"))
    assert np.abs(own.train - glorot.train).max() > 1e-3
    assert trained_by(glorot).init == "glorot"


@pytest.mark.parametrize("trainable", [("amplitudes",), ("frequencies",), ("amplitudes", "frequencies")])
def test_a_learned_mapping_is_descended_with_the_network(trainable, k):
    seen = {}

    def observe(step, params):
        seen[step] = params
        return xr.Dataset()

    r = ns.trainer.train(k, X, Y, trainable=trainable, observe=observe, field_shape=(16,), **OPTIONS)
    learned = {name: getattr(k.mapping, name) for name in trainable}

    def f(params):
        mapping = ns.mapping.FourierMapping(
            **{"amplitudes": k.mapping.amplitudes, "frequencies": k.mapping.frequencies} | params["mapping"]
        )
        return k.network.apply(params["network"], mapping(X))

    params = {"network": params_of(k), "mapping": learned}
    start = f(params)
    loss = lambda p: ((f(p) - start - Y[:, None]) ** 2).sum() / 2
    expected = descent(loss, params, lambda p: f(p) - start, [0, 1, 4], 0.05)
    np.testing.assert_allclose(r.train[0], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(r.field[:, :, ::2], r.train, rtol=0, atol=1e-12)
    assert seen[4]["mapping"].keys() == set(trainable)
    for name in trainable:
        assert np.abs(seen[4]["mapping"][name][0] - learned[name]).max() > 1e-4
    assert trained_by(r).trainable == trainable


def test_observers_see_stacked_parameters_at_recorded_steps(k, plain):
    def observe(step, params):
        assert jax.tree.structure(params) == jax.tree.structure(params_of(k))
        norm = [float(np.sum(np.asarray(leaf) ** 2)) for leaf in params[0]["w"]]
        return xr.Dataset({"norm": ("seed", norm), "asked": ((), step)}, attrs={"observer": "norm"})

    r = ns.trainer.train(k, X, Y, observe=observe, **OPTIONS)
    assert r.norm.dims == ("seed", "step")
    assert r.asked.values.tolist() == r.step.values.tolist() == [0, 1, 4]
    np.testing.assert_allclose(r.norm[:, 0], [np.sum(np.asarray(params_of(k, i)[0]["w"]) ** 2) for i in range(2)])
    assert r.norm[0, 2] != r.norm[0, 0]
    np.testing.assert_array_equal(r.train, plain.train)
    assert "observer" not in r.attrs


def test_an_observer_may_not_take_a_name_that_training_uses(k):
    with pytest.raises(ValueError, match="observe returned loss, which training records itself"):
        ns.trainer.train(k, X, Y, observe=lambda step, params: xr.Dataset({"loss": 1.0}), **OPTIONS)


def test_batches_are_seeded_and_unbiased(k, plain):
    options = {**OPTIONS, "steps": [1], "seeds": 1}
    one, again = (ns.trainer.train(k, X, Y, batch_size=2, **options) for _ in range(2))
    np.testing.assert_array_equal(one.train, again.train)
    assert trained_by(one).batch_size == 2
    assert np.abs(one.train - plain.train.sel(step=[1], seed=[0])).max() > 1e-3
    # One step is linear in the gradient up to the curvature of the network: the mean over batches is the full step.
    small = {**options, "learning_rate": 1e-6, "seeds": 1, "centered": True}
    full = ns.trainer.train(k, X, Y, **small).train[0, 0]
    draws = [ns.trainer.train(k, X, Y, batch_size=4, **small | {"steps": [s]}).train[0, 0] for s in (50,)]
    error = np.abs(draws[0] - 50 * full)
    # 50 batches of half of the points: a factor of 1/√50, and few standard errors.
    assert error.max() < 0.5 * np.abs(50 * full).max()


def test_a_batch_of_all_points_is_the_full_batch(k, plain):
    r = ns.trainer.train(k, X, Y, batch_size=8, **OPTIONS)
    np.testing.assert_allclose(r.train, plain.train, rtol=0, atol=1e-14)


def test_the_mean_of_networks_on_batches_is_the_full_batch():
    k = ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(depth=1, width=1024))
    options = {"steps": [1], "learning_rate": 1e-3, "seeds": 256}
    full, batched = (ns.trainer.train(k, X, Y, batch_size=b, **options).train[:, 0] for b in (None, 2))
    gap = (batched - full).mean("seed")
    sem = (batched - full).std("seed") / 16
    assert (np.abs(gap) < 5 * sem).all()
    assert (sem < 0.1 * np.abs(full).max()).all()


@pytest.mark.parametrize(
    "schedule",
    [
        ns.dynamics.schedule([1.0, 0.5, 0.25]),
        lambda step: 0.5 ** min(step, 2),
        optax.exponential_decay(1.0, 1, 0.5, end_value=0.25),
    ],
    ids=["dynamics", "plain function", "optax"],
)
def test_schedules_multiply_the_rate(schedule, k, plain):
    r = ns.trainer.train(k, X, Y, schedule=schedule, **OPTIONS)
    np.testing.assert_array_equal(r.train.sel(step=1), plain.train.sel(step=1))
    start = k.network.apply(params_of(k), k.mapping(X))
    params = params_of(k)
    for rate in (0.05, 0.025, 0.0125, 0.0125):
        loss = lambda p: ((k.network.apply(p, k.mapping(X)) - start - Y[:, None]) ** 2).sum() / 2
        params = jax.tree.map(lambda p, g, rate=rate: p - rate * g, params, jax.grad(loss)(params))
    expected = (k.network.apply(params, k.mapping(X)) - start)[:, 0]
    np.testing.assert_allclose(r.train.sel(seed=0, step=4), expected, rtol=0, atol=1e-13)
    assert trained_by(r, schedule=schedule).schedule != "constant"


def test_a_clipped_gradient_is_no_longer_than_asked(k, plain):
    options = {**OPTIONS, "steps": [1], "seeds": 1}
    start = k.network.apply(params_of(k), k.mapping(X))
    loss = lambda p: ((k.network.apply(p, k.mapping(X)) - start - Y[:, None]) ** 2).sum() / 2
    gradient = jax.grad(loss)(params_of(k))
    norm = float(np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradient))))
    halved = ns.trainer.train(k, X, Y, gradient_clip=norm / 2, **options)
    slower = ns.trainer.train(k, X, Y, **{**options, "learning_rate": options["learning_rate"] / 2})
    np.testing.assert_allclose(halved.train, slower.train, rtol=0, atol=1e-14)
    longer = ns.trainer.train(k, X, Y, gradient_clip=2 * norm, **options)
    np.testing.assert_allclose(longer.train[0, 0], plain.train.sel(seed=0, step=1), rtol=0, atol=1e-14)
    p = ns.predict(ns.operator.dense(k, X), Y, steps=[1], learning_rate=0.05)
    training = ns.trainer.Training.from_json(halved.attrs["training"])
    assert [one.field for one in training.unlike(p)] == ["gradient_clip"]
    with pytest.raises(ValueError, match="gradient_clip=0; expected a positive number"):
        ns.trainer.Training(gradient_clip=0)


def test_bfloat16_products_lose_digits_of_the_products_alone(k):
    options = {**OPTIONS, "dtype": "float32"}
    single, half = (ns.trainer.train(k, X, Y, matmul_precision=p, **options) for p in ("float32", "bfloat16"))
    gap = float(np.abs(single.train - half.train).max())
    assert 1e-4 < gap < 0.03
    assert (half.train.sel(step=0) == 0).all()
    assert trained_by(half).matmul_precision == "bfloat16"


def test_an_optimizer_that_searches_sees_the_function_of_its_gradient(k):
    def update(gradient, state, params, *, value, value_fn, **_):
        again, slope = jax.value_and_grad(value_fn)(params)
        forward = jax.jvp(value_fn, (params,), (gradient,))[1]
        square = sum((g**2).sum() for g in jax.tree.leaves(gradient))
        return jax.tree.map(lambda g, s: g - s + (again - value) + (forward - square), gradient, slope), state

    gap = optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)
    r = ns.trainer.train(k, X, Y, steps=[1], optimizer=gap, matmul_precision="bfloat16", centered=False, seeds=1)
    start = ns.trainer.train(
        k, X, Y, steps=[0], learning_rate=1.0, matmul_precision="bfloat16", centered=False, seeds=1
    )
    # Roundings of float32 in some hundred parameters; products that are not the same differ by 1e-3.
    np.testing.assert_allclose(r.train[0, 0], start.train[0, 0], rtol=0, atol=1e-4)


def test_a_stax_network_trains_with_every_option(k):
    stax = ns.kernel.stax.load().stax
    net = ns.kernel.from_stax(*stax.serial(stax.Dense(16), stax.Relu(), stax.Dense(2)))
    composed = ns.kernel.compose(k.mapping, net)
    y = np.stack([Y, 1 - Y], axis=1)
    r = ns.trainer.train(
        composed,
        X,
        y,
        steps=[0, 5],
        optimizer="adam",
        output="sigmoid",
        trainable=("amplitudes",),
        batch_size=4,
        seeds=2,
    )
    assert r.train.dims == ("seed", "step", "point", "channel")
    assert (r.loss.sel(step=5) < r.loss.sel(step=0)).all()


class Listed:
    def __init__(self, factors, starts):
        self.factors, self.starts = factors, starts


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 9}, ValueError, "batch_size=9; expected at most the number of points, 8; by default all"),
        ({"batch_size": 0}, ValueError, "batch_size=0; expected a positive integer"),
        ({"output": "tanh"}, ValueError, "output='tanh'; expected 'linear' or 'sigmoid'"),
        ({"y": 2 * Y, "output": "sigmoid"}, ValueError, r"labels reach from 0.2 to 1.8, and a sigmoid output is for"),
        ({"y": -Y, "loss": "logistic"}, ValueError, r"the logistic loss is for labels in \[0, 1\]"),
        ({"loss": "logistic", "point_loss": ns.dynamics.logistic}, ValueError, "is a point_loss already"),
        ({"init": "lecun"}, ValueError, "init='lecun'; expected 'network', 'glorot' or 'siren'"),
        ({"init": "glorot"}, ValueError, r"draws the weights of layers y = w x \+ b, and this network \(NTK"),
        ({"trainable": "amplitudes"}, ValueError, r"expected a tuple of amplitudes and .* such as \('amplitudes',\)"),
        ({"trainable": ("phases",)}, ValueError, r"trainable=\('phases',\); expected a tuple of amplitudes and"),
        ({"schedule": 0.5}, TypeError, "schedule is a float; expected one from ns.dynamics"),
        ({"schedule": lambda step: -1.0}, ValueError, "gives factors that are negative"),
        ({"schedule": lambda step: 0.5, "steps": [10**13]}, ValueError,
         "10,000,000,000,000 steps, would need .* available; give one that lists its changes"),
        ({"schedule": optax.constant_schedule(1.0), "optimizer": optax.adam(0.1), "learning_rate": None}, ValueError,
         "was built with its own learning rate; give it the schedule"),
        ({"matmul_precision": "float16"}, ValueError, "matmul_precision='float16'; expected 'float32' or 'bfloat16'"),
        ({"matmul_precision": "bfloat16", "dtype": "float64"}, ValueError, "is for dtype='float32'"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate='fast'; expected a positive number"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate=0.0; expected a positive number"),
        ({"seed": "first"}, ValueError, "seed='first'; expected a whole number from 0 on, such as 0"),
        ({"seed": True}, ValueError, "seed=True; expected a whole number from 0 on"),
        ({"devices": []}, ValueError, r"devices=\[\]; expected different devices, such as jax.local_devices"),
        ({"devices": "cpu"}, TypeError, "devices='cpu'; expected different devices, such as jax.local_devices"),
        ({"devices": jax.devices()[0]}, TypeError, r"devices=CpuDevice\(id=0\); expected different devices"),
        ({"devices": [0]}, TypeError, r"devices=\[0\]; expected different devices"),
        ({"devices": jax.devices()[:1] * 2}, ValueError, "expected different devices"),
        ({"y": ["a"] * 8}, TypeError, r"labels are strings; expected numbers, shape \(8,\) or \(8, channels\)"),
        ({"y": np.zeros((8, 0))}, ValueError, "expected at least one point and one channel to train on"),
        ({"steps": 1e30}, ValueError, "expected whole numbers"),
        ({"seeds": 2.0}, ValueError, "seeds=2.0; expected a positive integer"),
        ({"checkpoint": 3}, TypeError, "checkpoint=3; expected the name of a folder, such as 'run'"),
        ({"checkpoint": ""}, ValueError, "checkpoint=''; expected the name of a folder"),
        ({"resume": np.zeros(2)}, ValueError, r"resume=array.*; expected True, False or 'previous'"),
        ({"progress": 3}, TypeError, "progress=3; expected a reporter"),
        ({"centered": "no"}, TypeError, "centered='no'; expected True or False"),
        ({"dtype": np.dtype("float32")}, ValueError, "expected 'float32' or 'float64'"),
        ({"init": []}, ValueError, r"init=\[\]; expected 'network'"),
        ({"trainable": 3}, ValueError, "trainable=3; expected a tuple of amplitudes and frequencies"),
        ({"trainable": [None, "amplitudes"]}, ValueError, "expected a tuple of amplitudes and frequencies"),
        ({"field_shape": 3}, TypeError, r"field_shape=3; expected 1 positive sizes, one a coordinate, such as \(64,\)"),
        ({"field_shape": (8.0,)}, ValueError, r"field_shape=\(8\.0,\); expected 1 positive sizes"),
        ({"learning_rate": [0.1]}, TypeError, r"learning_rate=\[0\.1\]; expected a positive number"),
        ({"schedule": lambda step: None}, TypeError, "the schedule gives no number at step 0 .* such as 0.5"),
        ({"schedule": lambda: 1.0}, TypeError, "the schedule gives no number at step 0 .*takes 0 positional"),
        ({"schedule": lambda step: [1.0, 2.0]}, TypeError, r"the schedule gives arrays of shape \(2, 4\)"),
        ({"schedule": Listed(["a"], [0])}, ValueError, "a Listed whose factors are not numbers from 0 on, or"),
        ({"schedule": Listed([1.0], [1])}, ValueError, "a Listed whose factors"),
        ({"schedule": Listed([1.0, -1.0], [0, 1])}, ValueError, "a Listed whose factors"),
        ({"point_loss": 3}, TypeError, "point_loss=3; expected a function of a value and its label"),
        ({"point_loss": lambda f: f}, ValueError, "point_loss cannot be taken of values and labels: .* takes 1"),
        ({"point_loss": lambda f, y: None}, ValueError, r"point_loss gives a NoneType for values of shape \(2, 3\)"),
        ({"point_loss": lambda f, y: (f - y).sum()}, ValueError, r"point_loss gives float64 of shape \(\) for values"),
        ({"point_loss": lambda f, y: f > y}, ValueError, "point_loss gives bool of shape"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_words(options, error, message, k):
    given = {"y": Y, **OPTIONS, **options}
    with pytest.raises(error, match=message):
        ns.trainer.train(k, X, given.pop("y"), **given)


@pytest.mark.parametrize("k", [None, ns.kernel.MLP(depth=1, width=16), ns.mapping.basic(1)])
def test_what_is_no_kernel_is_refused_in_words(k):
    with pytest.raises(TypeError, match=r"the kernel is a .*; expected a network behind a mapping"):
        ns.trainer.train(k, X, Y, steps=[1])


def test_a_mapping_without_a_list_of_frequencies_cannot_be_learned():
    k = ns.kernel.compose(ns.mapping.identity(1), ns.kernel.MLP(depth=1, width=16))
    with pytest.raises(ValueError, match="has no list of frequencies and amplitudes to learn"):
        ns.trainer.train(k, X, Y, steps=[1], trainable=("amplitudes",))


def test_siren_weights_belong_to_sines():
    net = ns.kernel.MLP(depth=1, width=16, parametrization="standard")
    k = ns.kernel.compose(ns.mapping.basic(1), net)
    with pytest.raises(ValueError, match="init='siren' belongs to sines, and the activation is Relu"):
        ns.trainer.train(k, X, Y, steps=[1], init="siren")


def test_the_loss_of_a_saturated_sigmoid_is_that_of_its_logit():
    k = ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(depth=1, width=64))
    options = {"steps": [0, 300], "seeds": 2, "loss": "logistic", "optimizer": "adam", "learning_rate": 0.1}
    y = (X[:, 0] > 0.4).astype(float)
    of_sigmoid = ns.trainer.train(k, X, y, output="sigmoid", **options)
    of_logit = ns.trainer.train(k, X, y, **options)
    # Its logits have no place in the float32 sigmoid next to 1.
    assert of_logit.train.max() > 17
    np.testing.assert_array_equal(of_sigmoid.loss, of_logit.loss)
    np.testing.assert_allclose(of_sigmoid.train, jax.nn.sigmoid(of_logit.train.values), rtol=1e-12)
    # Of either the labels' energy is left at the start, a quarter of each point's at ½, and nothing in the end.
    for r in (of_sigmoid, of_logit):
        left = r.residual_energy.sum("frequency")
        np.testing.assert_allclose(left.sel(step=0), np.sum((y - 0.5) ** 2), rtol=1e-6)
        assert (left.sel(step=300) < 1e-6).all()


def test_float64_needs_the_float64_of_jax():
    code = "import ntkspec as ns, numpy as np\nx = np.zeros((2, 1))\nk = ns.kernel.compose(ns.mapping.basic(1), "
    code += "ns.kernel.MLP(depth=1, width=4))\nns.trainer.train(k, x, x[:, 0], steps=[1], dtype='float64')"
    environment = {**os.environ, "JAX_ENABLE_X64": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "dtype='float64', and JAX's float64 is off; leave JAX_ENABLE_X64=0 out" in done.stderr

"""Each cause on a case that was built to show it."""

import json

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import limits
from ntkspec.validation import explain
from ntkspec.validation._explain import WIDER

N = 8


def signal(x):
    return np.sin(2 * np.pi * x) + 0.5 * np.cos(4 * np.pi * x)


def problem(width, *, steps, share, mapping=None, network=None, points=N):
    """A kernel, its operator on a lattice, and steps at a share of the stability limit."""
    mapping = ns.mapping.power_law(4, p=0.0) if mapping is None else mapping
    network = ns.kernel.MLP(depth=1, width=width) if network is None else network
    k = ns.kernel.compose(mapping, network)
    K = ns.operator.lattice(k, (points,))
    return k, K, {"steps": steps, "learning_rate": share * ns.dynamics.max_learning_rate(K)}


def reasons(d):
    """Why each other cause was left out."""
    return {record["cause"]: record["why"] for record in json.loads(d.attrs["left_out"])}


def fields(v):
    """Fields in which training differs from its prediction."""
    return [record["field"] for record in json.loads(v.attrs["remarks"])]


def at_worst(d):
    return d.isel(step=int(np.argmax(d.error_squared.values)))


def assert_adds_up(d):
    np.testing.assert_allclose(d.explained.sum("cause") + d.unexplained, d.error_squared, rtol=1e-9, atol=1e-18)
    np.testing.assert_allclose(
        d.explained_common.sum("cause") + d.unexplained_common, d.common_squared, rtol=1e-9, atol=1e-18
    )
    np.testing.assert_allclose(d.common_squared + d.spread_squared, d.error_squared, rtol=1e-9, atol=1e-18)


@pytest.fixture(scope="module")
def descent():
    """Networks of width 512 by gradient descent at ηλ = 1."""
    k, K, options = problem(512, steps=[0, 1, 2, 4], share=0.5)
    y = signal(K.points[:, 0])
    return k, K, y, options, ns.trainer.train(k, K.points, y, seeds=4, **options)


def test_the_discrete_step_is_what_a_flow_misses(descent):
    k, K, y, options, r = descent
    flow = ns.predict(K, y, dynamics=ns.dynamics.gradient_flow(), **options)
    d = explain(k, flow, r, K=K, causes=["discrete_step", "fluctuation"], budget=0)
    assert d.attrs["cause"] == d.attrs["cause_of_mean"] == "discrete_step"
    assert (d.share.sel(cause="discrete_step") > 0.8).all()
    assert_adds_up(d)
    # Its control is nothing but another prediction, so the part is known in advance.
    steps = ns.predict(K, y, **options)
    by_hand = ((r.train - flow.train) ** 2).sum("point") - ((r.train - steps.train) ** 2).sum("point")
    expected = by_hand.mean("seed").sel(step=d.step) / np.sum(y**2)
    np.testing.assert_allclose(d.explained.sel(cause="discrete_step"), expected, rtol=1e-6)
    assert "feature learning" not in ns.validate(flow, r, causes=d).attrs["verdict"]


def test_a_prediction_that_takes_steps_has_no_such_cause(descent):
    k, K, y, options, r = descent
    d = explain(
        k, ns.predict(K, y, **options), r, K=K, causes=["discrete_step", "learning_rate", "fluctuation"], budget=0
    )
    assert d.cause.values.tolist() == ["fluctuation"]
    assert reasons(d) == {"discrete_step": "predicted", "learning_rate": "slow_enough", "width": "cost"}
    assert json.loads(d.attrs["left_out"])[-1]["detail"] == {"price": WIDER**2, "budget": 0}


def test_a_rate_that_infinite_width_bears_and_finite_width_does_not():
    k, K, options = problem(32, steps=[0, 2, 5, 20], share=0.95)
    y = signal(K.points[:, 0])
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=6, **options)
    d = explain(k, p, r, K=K, causes=["learning_rate", "fluctuation"], budget=4)
    assert d.attrs["cause"] == "learning_rate"
    assert float(at_worst(d).share.sel(cause="learning_rate")) > 0.9
    assert_adds_up(d)
    # Their own kernels have larger eigenvalues than the infinite one, some past the limit.
    assert d.limit_share.sizes == {"seed": 6}
    assert float(d.limit_share.max()) > 1
    theirs = [
        float(
            options["learning_rate"] / 2 * np.linalg.eigvalsh(ns.empirical.ntk(k, k.network.init(key, 8), K.points))[-1]
        )
        for key in _keys(6)
    ]
    np.testing.assert_allclose(d.limit_share, theirs, rtol=1e-3)


def _keys(count):
    import jax

    return [jax.random.fold_in(jax.random.key(0), s) for s in range(count)]


def test_early_narrow_networks_fluctuate():
    k, K, options = problem(32, steps=[0, 1, 3], share=0.25)
    y = signal(K.points[:, 0])
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=16, **options)
    d = explain(k, p, r, K=K)
    assert d.cause.values.tolist() == ["fluctuation", "moving_kernel"]
    assert d.attrs["cause"] == "fluctuation"
    assert (d.share.sel(cause="fluctuation") > 0.7).all()
    assert d.attrs["spread_in_theory"] == 1
    assert_adds_up(d)
    # The spread of twice the width against W^-1/2, to what 2 × 16 seeds tell.
    assert (np.abs(d.spread_exponent - 0.5) < 3 * d.spread_exponent_error).all()
    v = ns.validate(p, r)
    np.testing.assert_allclose(d.spread_squared, v.spread.sel(step=d.step) ** 2, rtol=1e-9)
    common = np.sqrt(np.maximum(d.common_squared, 0))
    np.testing.assert_allclose(common, v.systematic_error.sel(step=d.step), rtol=1e-6, atol=1e-9)


def test_late_in_training_kernels_have_moved():
    mapping = ns.mapping.power_law(4, p=1.0)
    k, K, options = problem(64, steps=[0, 30, 100], share=0.25, mapping=mapping, points=16)
    y = 4 * np.sign(np.sin(2 * np.pi * K.points[:, 0] + 0.1))
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=12, **options)
    d = explain(k, p, r, K=K, causes=["fluctuation", "moving_kernel"], budget=3)
    # Labels of 4 take the weights of 64 units far: what networks are off by, they are off by together.
    assert d.attrs["cause"] == d.attrs["cause_of_mean"] == "moving_kernel"
    assert (d.share.sel(cause="moving_kernel") > 0.5).all()
    assert (np.abs(d.unexplained_common) < 3 * d.unexplained_common_error).all()
    assert_adds_up(d)
    linear = ns.trainer.train(ns.kernel.linearised(k), K.points, y, seeds=12, **options)
    still = ns.validate(p, linear)
    np.testing.assert_allclose(d.linearised_spread_squared, still.spread.sel(step=d.step) ** 2, rtol=1e-6)


def test_a_sigmoid_is_not_a_linear_output():
    k, K, options = problem(128, steps=[0, 3, 10, 30], share=0.25)
    y = 0.5 + 0.25 * signal(K.points[:, 0])
    p = ns.predict(K, y, initial=np.full(N, 0.5), **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, output="sigmoid", **options)
    d = explain(k, p, r, K=K, causes=["output", "fluctuation"], budget=1)
    assert d.attrs["cause"] == d.attrs["cause_of_mean"] == "output"
    assert float(at_worst(d).share.sel(cause="output")) > 0.9
    assert_adds_up(d)
    assert fields(ns.validate(p, r)) == ["output"]


def test_adam_is_not_gradient_descent():
    k, K, options = problem(128, steps=[0, 3, 10, 30], share=0.25)
    y = signal(K.points[:, 0])
    optimizer = ns.trainer.optimizer("adam", b1=0.8)
    p = ns.predict(K, y, **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, optimizer=optimizer, **options)
    d = explain(k, p, r, K=K, causes=["optimizer", "learning_rate", "fluctuation"], budget=1)
    assert d.attrs["cause"] == d.attrs["cause_of_mean"] == "optimizer"
    assert (d.share.sel(cause="optimizer") > 0.9).all()
    # Whatever is looked at: of Adam's spread theory knows no power.
    assert explain(k, p, r, K=K, causes=["fluctuation"], budget=0).attrs["spread_in_theory"] == 0
    assert fields(ns.validate(p, r, causes=d)) == ["optimizer"]


def test_an_optimizer_with_a_function_among_its_settings_is_asked_for():
    k, K, options = problem(32, steps=[0, 3], share=0.25)
    y = signal(K.points[:, 0])
    optimizer = ns.trainer.optimizer("adamw", mask=lambda params: jax.tree.map(lambda _: True, params))
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=3, optimizer=optimizer, **options)
    with pytest.raises(ValueError, match=r"cannot hold the run's optimizer \(adamw.*\); give optimizer="):
        explain(k, p, r, K=K)
    d = explain(k, p, r, K=K, options={"optimizer": optimizer}, causes=["optimizer"], budget=1)
    assert d.cause.values.tolist() == ["optimizer"]


def test_momentum_has_a_theory_of_its_own():
    k, K, options = problem(256, steps=[0, 3, 10], share=0.25)
    y = signal(K.points[:, 0])
    p = ns.predict(K, y, **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, optimizer="heavy_ball", **options)
    d = explain(k, p, r, K=K, causes=["optimizer", "fluctuation"], budget=0)
    assert d.attrs["cause"] == "optimizer"
    assert float(at_worst(d).share.sel(cause="optimizer")) > 0.9
    right = ns.predict(K, y, dynamics=ns.dynamics.heavy_ball(0.9), **options)
    d = explain(k, right, r, K=K, causes=["optimizer", "fluctuation"], budget=0)
    assert d.cause.values.tolist() == ["fluctuation"]
    assert fields(ns.validate(right, r)) == []


def test_float32_is_what_remains_at_the_end():
    k, K, options = problem(256, steps=[0, 1000], share=0.5)
    y = signal(K.points[:, 0])
    p = ns.predict(K, y, tolerance=1e-10, **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, **options)
    d = explain(k, p, r, K=K, causes=["precision", "fluctuation"])
    assert 0 < np.sqrt(d.error_squared.item()) < 1e-5
    assert d.attrs["cause"] == "precision"
    assert d.share.sel(cause="precision").item() > 0.99
    assert_adds_up(d)
    # In float64 there is nothing of the kind.
    double = ns.trainer.train(k, K.points, y, seeds=4, dtype="float64", **options)
    again = explain(k, p, double, K=K, causes=["precision", "fluctuation"])
    assert again.cause.values.tolist() == ["fluctuation"]


def test_networks_with_starts_of_their_own_are_held_against_theory_from_there():
    k, K, options = problem(64, steps=[0, 2, 10], share=0.25)
    y = np.stack([signal(K.points[:, 0]), np.cos(2 * np.pi * K.points[:, 0])], axis=1)
    flow = ns.predict(K, y, dynamics=ns.dynamics.gradient_flow(), **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, centered=False, dtype="float64", **options)
    assert float(r.train.sel(step=0).std("seed").min()) > 0
    given = {"K": K, "causes": ["discrete_step", "fluctuation", "moving_kernel"], "budget": 7}
    d = explain(k, flow, r, **given)
    assert d.attrs["own_starts"] == 1
    assert_adds_up(d)

    def squared(networks, dynamics):
        """⟨‖f − f_theory‖²⟩/‖y‖² of each network's own theory, one prediction a network."""
        found = []
        for f in networks.train:
            own = ns.predict(K, y, initial=f.sel(step=0).values, dynamics=dynamics, **options)
            found.append(((f - own.train) ** 2).sum(("point", "channel")).sel(step=d.step) / np.sum(y**2))
        return np.mean(found, axis=0)

    descent = ns.dynamics.gradient_descent()
    whole = squared(r, ns.dynamics.gradient_flow())
    np.testing.assert_allclose(d.error_squared, whole, rtol=1e-5)
    in_steps = squared(r, descent)
    np.testing.assert_allclose(d.explained.sel(cause="discrete_step"), whole - in_steps, rtol=1e-4)
    # Of what is left, linearised networks from the same starts tell what is common without the kernel moving.
    linear = ns.trainer.train(ns.kernel.linearised(k), K.points, y, seeds=4, centered=False, dtype="float64", **options)
    np.testing.assert_allclose(linear.train.sel(step=0), r.train.sel(step=0), atol=1e-12)
    spread, common = d.explained_spread.sel(cause="fluctuation"), d.unexplained_common
    np.testing.assert_allclose(squared(linear, descent), common + d.linearised_spread_squared, rtol=1e-5)
    assert (spread > 0).all()


def test_an_ensemble_and_its_causes_are_both_in_the_verdict():
    k, K, options = problem(64, steps=[0, 2], share=0.25)
    y = signal(K.points[:, 0])
    p = ns.predict(K, y, **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, centered=False, **options)
    e = ns.dynamics.ensemble(k, K.points, y, K.points, **options)
    d = explain(k, p, r, K=K, causes=["fluctuation"], budget=0)
    verdict = ns.validate(p, r, ensemble=e, causes=d).attrs["verdict"]
    assert "their spread is" in verdict
    assert "finite-width fluctuation explains" in verdict


def test_a_schedule_that_theory_knows_is_no_cause():
    schedule = ns.dynamics.cosine(10)
    k, K, options = problem(64, steps=[0, 3, 10], share=0.5)
    y = signal(K.points[:, 0])
    p = ns.predict(K, y, dynamics=schedule, **options)
    r = ns.trainer.train(k, K.points, y, seeds=3, schedule=schedule, **options)
    d = explain(k, p, r, K=K, causes=["discrete_step", "fluctuation"], options={"schedule": schedule}, budget=0)
    assert d.cause.values.tolist() == ["fluctuation"]
    flow = ns.predict(K, y, dynamics=ns.dynamics.gradient_flow(), **options)
    d = explain(k, flow, r, K=K, causes=["discrete_step"], options={"schedule": schedule}, budget=0)
    # Its control is the scheduled descent: what the flow at a constant rate misses.
    by_hand = ((r.train - flow.train) ** 2).sum("point") - ((r.train - p.train) ** 2).sum("point")
    expected = by_hand.mean("seed").sel(step=d.step) / np.sum(y**2)
    np.testing.assert_allclose(d.explained.sel(cause="discrete_step"), expected, rtol=1e-6)


def test_a_schedule_that_theory_does_not_know_is_a_cause(descent):
    k, K, y, options, _ = descent
    schedule = ns.dynamics.piecewise({0: 0.25})
    slowed = ns.trainer.train(k, K.points, y, seeds=4, schedule=schedule, **options)
    p = ns.predict(K, y, **options)
    given = {"K": K, "causes": ["schedule", "fluctuation"], "options": {"schedule": schedule}, "budget": 1}
    d = explain(k, p, slowed, **given)
    # Of gradient descent the prediction can be had with it, and no network is trained.
    assert d.attrs["cause"] == "schedule"
    assert float(at_worst(d).share.sel(cause="schedule")) > 0.8
    expected = ((slowed.train - p.train) ** 2).sum("point") - (
        (slowed.train - ns.predict(K, y, dynamics=schedule, **options).train) ** 2
    ).sum("point")
    np.testing.assert_allclose(
        d.explained.sel(cause="schedule"), expected.mean("seed").sel(step=d.step) / np.sum(y**2), rtol=1e-6
    )
    assert fields(ns.validate(p, slowed, causes=d)) == ["schedule"]
    # Of momentum it is the run without the schedule that tells.
    ball = {"seeds": 3, "optimizer": "heavy_ball(momentum=0.5)"}
    slowed = ns.trainer.train(k, K.points, y, schedule=schedule, **ball, **options)
    plain = ns.trainer.train(k, K.points, y, **ball, **options)
    p = ns.predict(K, y, dynamics=ns.dynamics.heavy_ball(0.5), **options)
    d = explain(k, p, slowed, **given)
    assert d.attrs["cause"] == "schedule"
    expected = ((slowed.train - p.train) ** 2 - (plain.train - p.train) ** 2).sum("point")
    np.testing.assert_allclose(
        d.explained.sel(cause="schedule"), expected.mean("seed").sel(step=d.step) / np.sum(y**2), rtol=1e-6
    )
    assert d.attrs["spread_in_theory"] == 0


def test_controls_that_had_ended_are_not_trained_again(descent, tmp_path):
    k, K, y, options, r = descent
    p = ns.predict(K, y, **options)
    given = {"K": K, "causes": ["moving_kernel"], "checkpoint": tmp_path}
    first = explain(k, p, r, **given)
    assert (tmp_path / "moving_kernel").is_dir()
    with pytest.raises(ValueError, match="resume=True goes on from it"):
        explain(k, p, r, **given)
    xr.testing.assert_identical(explain(k, p, r, resume=True, **given), first)


# What is refused, and what is not known.


def test_one_network_tells_no_errors(descent):
    k, K, y, options, _ = descent
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=1, **options)
    d = explain(k, p, r, K=K, causes=["fluctuation"])
    assert d.sizes["cause"] == 0
    assert reasons(d) == {"fluctuation": "one_seed"}
    assert np.isnan(d.unexplained_error).all()
    assert np.isfinite(d.error_squared).all()
    v = ns.validate(p, r, causes=d)
    assert np.isnan(v.error_interval).all()


def test_two_networks_say_so(descent):
    k, K, y, options, _ = descent
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=2, **options)
    d = explain(k, p, r, K=K, causes=["fluctuation"])
    assert "not known from 2 networks" in d.attrs["verdict"]
    assert "nan" not in d.attrs["verdict"]
    assert np.isfinite(d.spread_exponent).all()


def test_a_budget_is_kept_and_what_it_costs_is_said(descent):
    k, K, y, options, r = descent
    d = explain(k, ns.predict(K, y, **options), r, K=K, causes=["moving_kernel"], budget=2)
    assert d.sizes["cause"] == 0
    assert reasons(d) == {"moving_kernel": "cost"}
    assert "would cost 3 times the run, with 2 left" in d.attrs["verdict"]


def test_what_does_not_belong_together_is_refused(descent):
    k, K, y, options, r = descent
    p = ns.predict(K, y, **options)
    with pytest.raises(ValueError, match="causes: got feature_learning; expected a list of optimizer, discrete_step"):
        explain(k, p, r, causes=["feature_learning"])
    with pytest.raises(ValueError, match="causes: got 'precision'; expected a list"):
        explain(k, p, r, causes="precision")
    other = ns.kernel.compose(k.mapping, ns.kernel.MLP(depth=1, width=256))
    with pytest.raises(ValueError, match="not trained from this kernel"):
        explain(other, p, r)
    with pytest.raises(ValueError, match="K is on other points"):
        explain(k, p, r, K=ns.operator.lattice(k, (4,)))
    with pytest.raises(ValueError, match="a part of its seeds"):
        explain(k, p, r.isel(seed=[1, 2]))
    for custom in ({"schedule": lambda step: 0.5}, {"optimizer": optax.adam(0.1)}):
        attrs = {"training": ns.trainer.Training(**custom).to_json()}
        with pytest.raises(ValueError, match=f"text cannot hold the run's {next(iter(custom))} "):
            explain(k, p, r.assign_attrs(attrs))
    with pytest.raises(ValueError, match="start from are not known"):
        explain(k, p, r.isel(step=[1, 2]).assign_attrs(starts_from_zero=0, centered=0))
    with pytest.raises(ValueError, match="predict without `initial`"):
        explain(k, p.assign_attrs(starts_from_zero=0), r.assign_attrs(starts_from_zero=0, centered=0))
    flow = ns.dynamics.function_space_flow(K, y, point_loss=ns.dynamics.huber(1.0), **options)
    with pytest.raises(ValueError, match=r"this one is a flow in function space; give one from ns\.predict"):
        explain(k, flow, r)
    with pytest.raises(ValueError, match=r"give the dynamics itself.*options=\{'dynamics'"):
        explain(k, ns.predict(K, y, dynamics=ns.dynamics.cosine(400), **options), r)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"k": None}, TypeError, "the kernel is a NoneType"),
        ({"p": 3}, TypeError, r"`p` is a int, expected a Dataset from `ntkspec\.predict`"),
        ({"r": xr.Dataset()}, ValueError, r"`r` is a Dataset without train, target, step, x .*ntkspec\.trainer\.train"),
        ({"K": np.eye(8)}, TypeError, "`K` is a ndarray; expected an operator"),
        ({"causes": 3}, ValueError, "causes: got 3; expected a list of optimizer"),
        ({"causes": [3]}, ValueError, "causes: got 3; expected a list of optimizer"),
        (
            {"options": 3},
            TypeError,
            "options=3; expected objects that attributes cannot hold, by name: dynamics, optimizer, point_loss",
        ),
        ({"options": {"momentum": 0.9}}, TypeError, "expected objects that attributes cannot hold"),
        ({"options": {"seeds": 2}}, TypeError, "expected objects that attributes cannot hold"),
        ({"options": {"optimizer": 3}}, TypeError, "optimizer is a int; expected a name"),
        ({"budget": "a"}, ValueError, "budget='a'; expected a number from 0 on"),
        ({"budget": np.nan}, ValueError, "budget=nan; expected a number from 0 on"),
        ({"checkpoint": 3}, TypeError, "checkpoint=3; expected the name of a folder"),
        ({"resume": "latest"}, ValueError, "resume='latest'; expected True, False"),
        ({"progress": True}, TypeError, "progress=True; expected a reporter"),
    ],
)
def test_things_of_the_wrong_kind_are_refused(changes, error, message, descent):
    k, K, y, options, r = descent
    given = {"k": k, "p": ns.predict(K, y, **options), "r": r, **changes}
    with pytest.raises(error, match=message):
        explain(given.pop("k"), given.pop("p"), given.pop("r"), **given)


def test_validate_takes_the_explanation_of_its_own_run_only(descent):
    k, K, y, options, r = descent
    p = ns.predict(K, y, **options)
    d = explain(k, p, r, K=K, causes=["fluctuation"], budget=0)
    assert "finite-width fluctuation" in ns.validate(p, r, causes=d).attrs["verdict"]
    with pytest.raises(ValueError, match="explains a run with seeds=4, this one has 2"):
        ns.validate(p, r.isel(seed=[0, 1]), causes=d)
    with pytest.raises(ValueError, match="explains a run with width=512, this one has 64"):
        ns.validate(p, r.assign_attrs(width=64), causes=d)
    with pytest.raises(ValueError, match=r"explains steps \[1, 2, 4\], these runs share \[0, 1, 2\]"):
        ns.validate(p.sel(step=[0, 1, 2]), r, causes=d)
    with pytest.raises(ValueError, match=r"`causes` is a Dataset without explained .*validation\.explain"):
        ns.validate(p, r, causes=p)


def test_half_of_the_limit_is_half_whatever_its_last_digits():
    k, K, options = problem(8, steps=[0, 1], share=0.5 * (1 + 1e-15))
    y = signal(K.points[:, 0])
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=3, **options)
    d = explain(k, p, r, K=K, causes=["learning_rate"], budget=0)
    assert reasons(d) == {"learning_rate": "slow_enough"}


def test_kernels_that_move_each_its_own_way_are_no_fluctuation():
    mapping, network = ns.mapping.gaussian(1, 8, scale=2.0), ns.kernel.MLP(depth=2, width=256)
    k, K, options = problem(256, steps=[0, 10, 50], share=0.2, mapping=mapping, network=network, points=16)
    y = 30 * (np.sin(2 * np.pi * K.points[:, 0]) + 0.3 * np.cos(6 * np.pi * K.points[:, 0]))
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=4, **options)
    d = explain(k, p, r, K=K, causes=["fluctuation", "moving_kernel"], budget=3)
    assert_adds_up(d)
    # Labels of 30 move kernels so far that networks scatter by it, more than they are off together.
    worst = at_worst(d)
    assert float(worst.spread_squared) > float(worst.common_squared)
    assert d.attrs["cause"] == "moving_kernel"
    assert float(worst.share.sel(cause="moving_kernel")) > 0.8
    of_start = np.minimum(d.linearised_spread_squared, d.spread_squared)
    np.testing.assert_allclose(d.explained.sel(cause="fluctuation"), of_start, rtol=1e-9)
    alone = explain(k, p, r, K=K, causes=["fluctuation"], budget=0)
    assert "whether kernels moved" in alone.attrs["verdict"]
    np.testing.assert_allclose(alone.explained.sel(cause="fluctuation"), d.spread_squared, rtol=1e-9)


def test_float32_is_looked_at_where_the_signal_is_small_beside_the_start():
    k, K, options = problem(128, steps=[0, 2, 20], share=0.5)
    y = signal(K.points[:, 0])

    def explained(y, steps):
        p = ns.predict(K, y, **options).sel(step=steps)
        r = ns.trainer.train(k, K.points, y, seeds=4, **options)
        return explain(k, p, r, K=K, causes=["precision", "fluctuation", "moving_kernel"], budget=6)

    d = explained(1e-6 * y, [0, 20])
    # f − f_0 of functions of size 1 keeps their roundings, which are a tenth of a signal of 1e-6.
    assert float(np.sqrt(at_worst(d).error_squared)) > 1e-2
    assert d.attrs["cause"] == "precision"
    assert reasons(explained(y, [0, 2]))["precision"] == "large_error"


@pytest.mark.parametrize(
    ("dynamics", "cause"),
    [
        (ns.dynamics.gradient_descent(), None),
        (ns.dynamics.gradient_flow(), "discrete_step"),
        (ns.dynamics.heavy_ball(0.5), "optimizer"),
        (ns.dynamics.nesterov(0.5), "optimizer"),
        (ns.dynamics.ridge(0.1), "optimizer"),
        (ns.dynamics.ridge(0.1, ns.dynamics.heavy_ball(0.5)), "optimizer"),
        (ns.dynamics.preconditioned(ns.dynamics.damped_power(0.5, 1.0)), "optimizer"),
        (ns.dynamics.preconditioned(ns.dynamics.damped_power(0.5, 1.0), ns.dynamics.ridge(0.1)), "optimizer"),
        (ns.dynamics.piecewise({0: 1.0, 2: 0.5}), None),
        (ns.dynamics.ridge(0.1, ns.dynamics.piecewise({0: 1.0, 2: 0.5})), "optimizer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ns.dynamics.Dynamics) else value,
)
def test_a_prediction_under_each_dynamics_can_be_explained(dynamics, cause, descent):
    k, K, y, options, r = descent
    p = ns.predict(K, y, dynamics=dynamics, **options)
    d = explain(k, p, r, K=K, causes=["optimizer", "discrete_step", "fluctuation"], budget=0)
    assert d.cause.values.tolist() == ([] if cause is None else [cause]) + ["fluctuation"]
    assert_adds_up(d)
    if cause is not None:
        # Networks took steps of gradient descent: its prediction is the control.
        descent_alone = ns.predict(K, y, **options)
        by_hand = ((r.train - p.train) ** 2).sum("point") - ((r.train - descent_alone.train) ** 2).sum("point")
        expected = by_hand.mean("seed").sel(step=d.step) / np.sum(y**2)
        np.testing.assert_allclose(d.explained.sel(cause=cause), expected, rtol=1e-6, atol=1e-12)


def test_a_preconditioner_of_ones_own_is_given_again(descent):
    k, K, y, options, r = descent
    own = ns.dynamics.preconditioned(lambda eigenvalue: 1 / (1 + eigenvalue))
    p = ns.predict(K, y, dynamics=own, **options)
    given = {"K": K, "causes": ["optimizer", "fluctuation"], "budget": 0}
    with pytest.raises(ValueError, match=r"give the dynamics itself.*options=\{'dynamics'"):
        explain(k, p, r, **given)
    assert explain(k, p, r, options={"dynamics": own}, **given).attrs["cause"] == "optimizer"


def test_small_batches_are_not_all_points():
    k, K, options = problem(512, steps=[0, 2, 8], share=0.25)
    y = signal(K.points[:, 0])
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=4, batch_size=2, **options)
    d = explain(k, p, r, K=K, causes=["batches", "fluctuation"], budget=1)
    assert d.attrs["cause"] == "batches"
    assert float(at_worst(d).share.sel(cause="batches")) > 0.8
    assert_adds_up(d)


def test_a_learned_mapping_is_not_a_fixed_one():
    k, K, options = problem(512, steps=[0, 5, 30], share=0.03)
    # Frequencies that are learned make the kernel, and the rate that it bears, another.
    y = signal(K.points[:, 0])
    p = ns.predict(K, y, **options)
    r = ns.trainer.train(k, K.points, y, seeds=4, trainable=("amplitudes", "frequencies"), **options)
    d = explain(k, p, r, K=K, causes=["learned_mapping", "fluctuation"], budget=1)
    assert d.attrs["cause"] == "learned_mapping"
    assert float(at_worst(d).share.sel(cause="learned_mapping")) > 0.8
    assert_adds_up(d)


@pytest.mark.parametrize(
    ("changes", "other", "of_theory"),
    [({"trainable": ("frequencies",)}, "learned_mapping", 0.1), ({"batch_size": 1}, "batches", 0.3)],
)
def test_a_rate_past_the_limit_of_the_run_is_too_large_whatever_theory_bears(changes, other, of_theory):
    k, K, options = problem(64, steps=[0, 5, 20], share=of_theory)
    y = signal(K.points[:, 0])
    training = ns.trainer.Training(**changes)
    limit = ns.trainer.stability_limit(ns.trainer.plan(k, K.points, y, steps=[0], training=training))
    share = options["learning_rate"] / limit
    assert share > 1.5
    r = ns.trainer.train(k, K.points, y, seeds=4, **changes, **options)
    d = explain(k, ns.predict(K, y, **options), r, K=K, causes=["learning_rate", other], budget=12)
    assert d.cause.values.tolist() == ["learning_rate", other]
    assert d.attrs["cause"] == "learning_rate"
    assert float(d.limit_share.dropna("seed").item()) == pytest.approx(share, rel=1e-6)
    assert_adds_up(d)


def test_another_initialisation_is_not_that_of_the_kernel():
    network = ns.kernel.MLP(depth=1, width=512, parametrization="standard")
    k, K, options = problem(512, steps=[0, 2, 8], share=0.25, network=network)
    y = signal(K.points[:, 0])
    p, r = ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, seeds=4, init="glorot", **options)
    d = explain(k, p, r, K=K, causes=["initialisation", "fluctuation"], budget=1)
    assert d.attrs["cause"] == "initialisation"
    assert float(at_worst(d).share.sel(cause="initialisation")) > 0.8
    assert_adds_up(d)
    still = explain(k, p, r, K=K, causes=["fluctuation", "moving_kernel"], budget=3)
    assert reasons(still)["moving_kernel"] == "initialisation"


@pytest.mark.parametrize(
    ("memory", "rate", "why", "error"),
    [(8000, None, "too_large", "one network would need"), (None, 1e3, "diverged", "training diverged by step")],
)
def test_controls_that_fail_lose_nothing_of_the_others(memory, rate, why, error, descent):
    k, K, y, options, r = descent
    p = ns.predict(K, y, **options)
    plan = ns.trainer.plan(k, K.points, y, seeds=r.sizes["seed"], **options)
    if rate is not None:
        p, r = (each.assign_attrs(learning_rate=rate) for each in (p, r))
    with limits.limited(memory=memory):
        d = explain(plan, p, r, K=K, causes=["fluctuation", "moving_kernel"], budget=10)
    assert d.cause.values.tolist() == ["fluctuation"]
    assert reasons(d) == {"moving_kernel": why, "width": why}
    assert error in d.attrs["verdict"]


def test_a_catapult_is_told_where_the_start_is_recorded(descent):
    k, K, y, options, r = descent
    risen = r.assign(loss=r.loss + r.step)
    p = ns.predict(K, y, **options)
    found = [
        explain(k, p, some, K=K, causes=["fluctuation"], budget=0).attrs["catapults"]
        for some in (r, risen, risen.sel(step=[1, 2, 4]))
    ]
    assert found == [0, 4, 0]


def squared(f, y):
    """Twice the built-in loss of this name."""
    return (f - y) ** 2


def test_a_loss_of_the_name_of_another_is_another(descent):
    k, K, y, options, _ = descent
    p = ns.predict(K, y, **options)
    theirs = ns.trainer.train(k, K.points, y, seeds=3, point_loss=squared, **options)
    assert fields(ns.validate(p, theirs)) == ["point_loss"]
    with pytest.raises(ValueError, match=r"cannot hold the run's point_loss \(squared\); give point_loss="):
        explain(k, p, theirs, K=K)
    # Where it is given, half of the loss at the same rate is what sets the run apart.
    d = explain(k, p, theirs, K=K, options={"point_loss": squared}, causes=["output", "fluctuation"], budget=1)
    assert d.attrs["cause"] == "output"


def test_half_the_rate_by_a_schedule_is_told(descent):
    k, K, y, options, _ = descent
    p = ns.predict(K, y, **options)
    halved = ns.trainer.train(k, K.points, y, seeds=3, schedule=ns.dynamics.piecewise({0: 0.5}), **options)
    assert fields(ns.validate(p, halved)) == ["schedule"]
    assert "schedule" in explain(k, p, halved, K=K, budget=0).cause

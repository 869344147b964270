"""Observers of all networks at every recorded step, in parts and after a checkpoint."""

import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import limits
from ntkspec.trainer._ensemble import initialise

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])
OPTIONS = {"learning_rate": 0.05, "seeds": 2}


@pytest.fixture(scope="module")
def k():
    return ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))


def saying(**variables):
    return lambda step, params: xr.Dataset(variables)


NORM = ("seed", [1.0, 2.0])


def test_a_coordinate_that_changes_has_a_value_for_each_step_and_part(k, tmp_path):
    def observe(step, params):
        return xr.Dataset({"norm": NORM}, coords={"asked": step, "same": 3.0})

    options = {"observe": observe, **OPTIONS}
    r = ns.trainer.train(k, X, Y, steps=[0, 2], checkpoint=tmp_path, **options)
    assert r.asked.dims == ("step",)
    assert r.asked.values.tolist() == [0, 2]
    assert r.same.dims == ()
    again = ns.trainer.train(k, X, Y, steps=[0, 2, 4], checkpoint=tmp_path, resume=True, **options)
    assert again.asked.values.tolist() == [0, 2, 4]
    options["observe"] = lambda step, params: xr.Dataset({"w": ("seed", [1.0])}, coords={"b": params[0]["b"].max()})
    with limits.limited(networks=1):
        apart = ns.trainer.train(k, X, Y, steps=[0, 2], **options)
    assert set(apart.b.dims) == {"seed", "step"}
    assert len(np.unique(apart.b)) == 4


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (None, TypeError, r"observe returned a NoneType at step 0; expected an xarray\.Dataset, such as"),
        ({"a": 1.0}, TypeError, "observe returned a dict at step 0"),
        (xr.Dataset({"a": ("step", [1, 2])}), ValueError, "observe returned 2 steps; it is called at one"),
        (xr.Dataset({"loss": 1.0}), ValueError, "observe returned loss, which training records itself"),
        (xr.Dataset({"a": ("seed", [1.0])}), ValueError, "those of training, whose sizes are seed: 2, .*point: 8"),
        (xr.Dataset({"a": ("point", [1.0])}), ValueError, "give other dimensions other names"),
        (xr.Dataset({"a": NORM}, coords={"seed": [5, 6]}), ValueError, "do not go with those of training"),
        (xr.Dataset({"x": 1.0}), ValueError, "do not go with those of training"),
    ],
)  # fmt: skip
def test_what_has_no_place_in_the_result_is_refused_at_the_first_step(said, error, message, k):
    seen = []

    def observe(step, params):
        seen.append(step)
        return said

    with pytest.raises(error, match=message):
        ns.trainer.train(k, X, Y, steps=[0, 2], observe=observe, **OPTIONS)
    assert seen == [0]


def test_parts_tell_seeds_apart(k):
    options = {**OPTIONS, "steps": [0, 2], "seeds": 3}
    with (
        limits.limited(networks=2),
        pytest.raises(ValueError, match=r"mean without a dimension `seed`, .* trained in 2 parts; keep `seed`"),
    ):
        ns.trainer.train(k, X, Y, observe=saying(mean=1.0), **options)


def test_what_cannot_be_called_as_an_observer_is_refused_before_any_work(k, tmp_path):
    options = {"steps": [0, 2], "checkpoint": tmp_path, **OPTIONS}
    with pytest.raises(TypeError, match="observe=3; expected a function of step and parameters"):
        ns.trainer.train(k, X, Y, observe=3, **options)
    with pytest.raises(TypeError, match=r"observe cannot be called as observe\(step, params\): too many positional"):
        ns.trainer.train(k, X, Y, observe=lambda step: xr.Dataset(), **options)
    assert not list(tmp_path.iterdir())


class Looking:
    """An observer that looks back: to the first weights of its networks."""

    def __init__(self):
        self.begun = []

    def __call__(self, step, params):
        raise AssertionError("a run asks what `begin` returned")

    def begin(self, k, params):
        start = np.asarray(params[0]["w"])
        self.begun.append((k, start))
        return lambda step, now: xr.Dataset({"moved": ("seed", np.abs(np.asarray(now[0]["w"]) - start).max((1, 2)))})


@pytest.mark.parametrize("optimizer", ["gradient_descent", "nesterov"])
def test_an_observer_that_looks_back_begins_with_the_start_of_each_part(optimizer, k, tmp_path):
    options = {**OPTIONS, "optimizer": optimizer, "seeds": 3, "steps": [1, 3], "dtype": "float64"}
    whole, apart, again = Looking(), Looking(), Looking()
    r = ns.trainer.train(k, X, Y, observe=whole, **options)
    assert (r.moved > 0).all()
    (kernel, start), = whole.begun  # fmt: skip
    assert kernel is k
    np.testing.assert_array_equal(start, initialise(k.network, 0, 3, k.mapping.num_features, 1, "float64")[0]["w"])
    with limits.limited(networks=2):
        # Another number of networks may sum in another order.
        xr.testing.assert_allclose(ns.trainer.train(k, X, Y, observe=apart, **options), r, rtol=1e-12)
        np.testing.assert_array_equal(np.concatenate([start for _, start in apart.begun]), start)
        ns.trainer.train(k, X, Y, observe=Looking(), checkpoint=tmp_path, **options)
    options |= {"steps": [1, 3], "checkpoint": tmp_path, "resume": True}
    ns.trainer.train(k, X, Y, observe=again, **options)
    # Only of the part that the checkpoint is in.
    np.testing.assert_array_equal(again.begun[0][1], start[2:])


def test_moving_kernels_are_watched_in_parts(k):
    options = {"seeds": 3, "dtype": "float64", "steps": [0, 5], "learning_rate": 0.05}
    observe = ns.empirical.movement(k, X, Y)
    whole = ns.trainer.train(k, X, Y, observe=observe, **options)
    assert (whole.kernel_drift.sel(step=5) > 1e-3).all()
    for steps in ([0, 5], [5]):
        with limits.limited(networks=2):
            r = ns.trainer.train(k, X, Y, observe=observe, **options | {"steps": steps})
        xr.testing.assert_allclose(r, whole.sel(step=steps), rtol=1e-12, atol=1e-12)


def test_an_observer_of_moving_kernels_serves_one_run_after_another(k):
    used = ns.empirical.movement(k, X, Y)
    for steps in ([0], [0, 5], [7, 9], [9]):
        found = [
            ns.trainer.train(k, X, Y, steps=steps, seed=steps[0], observe=observe, **OPTIONS)
            for observe in (used, ns.empirical.movement(k, X, Y))
        ]
        xr.testing.assert_identical(*found)
        # Also where the start is not recorded, it is what kernels are compared with.
        assert (found[0].kernel_drift.sel(step=steps[-1]) > 0.01).all() == (steps != [0])


def test_what_does_not_begin_as_an_observer_is_refused(k):
    class Wrong(Looking):
        def begin(self, params):
            return None

    class Nothing(Looking):
        def begin(self, k, params):
            return None

    with pytest.raises(TypeError, match=r"observe\.begin cannot be called as observe\.begin\(k, params\): too many"):
        ns.trainer.train(k, X, Y, steps=[0], observe=Wrong(), **OPTIONS)
    with pytest.raises(TypeError, match=r"observe\.begin returned a NoneType; expected a function of step and"):
        ns.trainer.train(k, X, Y, steps=[0], observe=Nothing(), **OPTIONS)

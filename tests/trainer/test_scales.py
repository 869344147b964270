"""Several mappings in one program: each as if it were alone."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import limits
from ntkspec.trainer import Keep

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])
OPTIONS = {"steps": [0, 1, 5], "seeds": 2, "field_shape": (16,), "training": ns.trainer.Training(dtype="float64")}
NET = ns.kernel.MLP(depth=1, width=16, b_std=0.1)
OTHER = ns.kernel.MLP(depth=1, width=16)
KERNELS = {s: ns.kernel.compose(ns.mapping.gaussian(1, 4, scale=s), NET) for s in (0.5, 1.0, 3.0)}


def plans(kernels=KERNELS, **options):
    return {scale: ns.trainer.plan(k, X, Y, **OPTIONS | options) for scale, k in kernels.items()}


@pytest.mark.parametrize("settings", [{}, {"optimizer": "nesterov", "batch_size": 4, "trainable": ("frequencies",)}])
def test_each_scale_is_trained_as_if_it_were_alone(settings):
    r = ns.trainer.train_scales(plans(training=replace(OPTIONS["training"], **settings)))
    assert r.field.dims == ("scale", "seed", "step", "axis0")
    assert r.target.dims == ("point",)
    for scale, k in KERNELS.items():
        alone = ns.trainer.train(k, X, Y, **OPTIONS, **settings)
        of_scale = r.sel(scale=scale)
        assert float(of_scale.learning_rate) == alone.attrs["learning_rate"]
        for name in alone.data_vars:
            # The same sums; a product of many small matrices may take them in another order.
            np.testing.assert_allclose(of_scale[name], alone[name], rtol=0, atol=1e-12)
    assert len(set(r.learning_rate.values)) == 3


def test_rates_are_one_for_all_or_one_for_each():
    same = plans(learning_rate=0.01)
    one = ns.trainer.train_scales(same)
    each = ns.trainer.train_scales(same | {3.0: same[3.0].changed(rates=(0.02,))})
    np.testing.assert_allclose(one.train[:2], each.train[:2], rtol=0, atol=1e-14)
    assert np.abs(one.train[2] - each.train[2]).max() > 1e-3


def test_scales_resume_and_are_observed(tmp_path):
    seen = []

    def observe(step, params):
        seen.append(step)
        return xr.Dataset({"norm": ("seed", [float(np.sum(np.asarray(w) ** 2)) for w in params[0]["w"]])})

    whole = ns.trainer.train_scales(plans(), observe=observe)
    assert seen == [0, 0, 0, 1, 1, 1, 5, 5, 5]
    assert whole.norm.dims == ("scale", "seed", "step")
    ns.trainer.train_scales(plans(steps=[0, 1]), Keep(tmp_path), observe)
    r = ns.trainer.train_scales(plans(), Keep(tmp_path, resume=True), observe)
    xr.testing.assert_identical(r, whole)


def alone(scale, observe):
    return ns.trainer.train(KERNELS[scale], X, Y, observe=observe, learning_rate=0.05, **OPTIONS)


@pytest.mark.parametrize("parts", ["together", "by scale and seed", "by seed"])
def test_kernels_of_each_scale_move_as_if_it_were_alone(parts, tmp_path):
    observe = ns.empirical.movement(KERNELS[1.0], X, Y)
    expected = {scale: alone(scale, ns.empirical.movement(k, X, Y)) for scale, k in KERNELS.items()}
    together = {"together": None, "by scale and seed": 1, "by seed": 3}[parts]
    with limits.limited(networks=together):
        r = ns.trainer.train_scales(plans(learning_rate=0.05), observe=observe)
    assert r.kernel_drift.dims[0] == "scale"
    assert r.infinite_rayleigh_quotient.dims == ("scale", "kernel_frequency")
    assert len(set(r.infinite_rayleigh_quotient.values[:, 0])) == 3
    for scale, one in expected.items():
        for name in [name for name in one.variables if "scale" in r[name].dims]:
            # The same sums; a product of many small matrices may take them in another order.
            np.testing.assert_allclose(r[name].sel(scale=scale), one[name], rtol=1e-9, atol=1e-11, err_msg=name)
    if parts == "together":
        ns.trainer.train_scales(plans(learning_rate=0.05, steps=[0, 1]), Keep(tmp_path), observe)
        again = ns.trainer.train_scales(plans(learning_rate=0.05), Keep(tmp_path, resume=True), observe)
        xr.testing.assert_identical(again, r)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (ns.kernel.compose(ns.mapping.gaussian(1, 5, scale=2.0), NET), {}),
        (ns.kernel.compose(KERNELS[1.0].mapping, OTHER), {}),
        (KERNELS[1.0], {"seed": 1}),
        (KERNELS[1.0], {"steps": [0, 5]}),
        (KERNELS[1.0], {"learning_rate": 0.1}),
        (KERNELS[1.0], {"training": ns.trainer.Training()}),
    ],
)
def test_what_is_not_one_program_is_refused(kernel, options):
    with pytest.raises(ValueError, match="the plans differ in more than the numbers of their mapping"):
        ns.trainer.train_scales(plans() | plans({2.0: kernel}, **options))


@pytest.mark.parametrize("wrong", [[], {}, KERNELS, {"wide": ns.trainer.plan(KERNELS[1.0], X, Y, **OPTIONS)}])
def test_what_are_no_plans_is_refused(wrong):
    with pytest.raises(TypeError, match=r"plans=.*; expected plans by scale, a number each"):
        ns.trainer.train_scales(wrong)

"""Eight devices against one: the same numbers, however networks and points are shared out."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import ntkspec as ns
from ntkspec.trainer._devices import layout
from ntkspec.trainer._model import Recipe

#: Each case: what is asked of `train`, and the shape of the mesh that it should get.
CHILD = """
import jax, numpy as np, ntkspec as ns
from ntkspec.trainer import _devices as parallel

assert len(jax.devices()) == 8
shapes = []
inner = parallel._program
def seen(recipe, mesh, splits):
    shapes.append(tuple(mesh.shape.values()))
    return inner(recipe, mesh, splits)
parallel._program = seen

k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))
x = np.arange(13)[:, None] / 16
y = np.sin(2 * np.pi * x[:, 0])
common = dict(steps=[0, 20], dtype="float64", field_shape=(16,))
cases = [
    (dict(seeds=8), (8, 1)),
    (dict(seeds=3, optimizer="adam"), (1, 8)),
    (dict(seeds=2, batch_size=4, optimizer="nesterov"), (2, 4)),
    (dict(seeds=2, loss="mean", trainable=("amplitudes",)), (2, 4)),
]
for options, shape in cases:
    shapes.clear()
    many = ns.trainer.train(k, x, y, **{**common, **options})
    assert set(shapes) == {shape}, (options, shapes)
    one = ns.trainer.train(k, x, y, devices=jax.devices()[:1], **{**common, **options})
    assert many.attrs == one.attrs
    for name in ("train", "loss", "field"):
        # Sums over points in another order: roundings, of which Adam's division makes more.
        np.testing.assert_allclose(many[name], one[name], rtol=0, atol=1e-9 if "optimizer" in options else 1e-12)
    print("same", shape)

import xarray as xr
where = set()
def observe(step, params):
    where.update(*(leaf.devices() for leaf in jax.tree.leaves(params)))
    return xr.Dataset()
last = ns.trainer.train(k, x, y, seeds=2, devices=jax.devices()[5:6], observe=observe, **common)
assert where == {jax.devices()[5]}, where
np.testing.assert_array_equal(last.train, ns.trainer.train(k, x, y, seeds=2, devices=jax.devices()[:1], **common).train)
print("there")
"""


def test_eight_devices_give_the_numbers_of_one():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(ns.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == 4
    assert "there" in done.stdout


def test_one_device_is_not_laid_out():
    laid = layout(jax.devices()[:1], 4, 8, Recipe.of(ns.trainer.Training(optimizer="adam")))
    assert laid.mesh is None


@pytest.mark.parametrize(
    ("count", "networks", "points", "batch", "name", "expected"),
    [
        (8, 8, 100, None, "adam", (8, 1)),
        (8, 12, 100, None, "adam", (4, 2)),
        (6, 4, 100, None, "adam", (2, 3)),
        (8, 1, 3, None, "adam", (1, 3)),
        (8, 1, 100, 6, "adam", (1, 2)),
        # Along a line the loss of all points is asked for in one place.
        (8, 2, 100, None, "lbfgs", (2, 1)),
    ],
)
def test_as_many_networks_apart_as_divide(count, networks, points, batch, name, expected, monkeypatch):
    from ntkspec.trainer import _devices as parallel

    monkeypatch.setattr(parallel, "Mesh", lambda grid, *_, **__: grid)
    recipe = Recipe.of(ns.trainer.Training(optimizer=name, batch_size=batch))
    assert layout(list(range(count)), networks, points, recipe).mesh.shape == expected

import importlib.util
import sys

import jax
import numpy as np
import pytest

from ntkspec.kernel import stax


def test_load_gives_neural_tangents_and_leaves_what_jax_has():
    before = jax.core.Tracer, jax.random.key
    nt = stax.load()
    assert nt.__name__ == "neural_tangents"
    assert (jax.core.Tracer, jax.random.key) == before
    assert stax.load() is nt
    assert "tensorflow" not in sys.modules


def test_load_says_how_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "neural_tangents" else found(name))
    with pytest.raises(ImportError, match=r"pip install --no-deps neural-tangents==0\.6\.5"):
        stax.load()


def test_restore_does_not_replace_what_is_there():
    import types

    module = types.ModuleType("old")
    module.name = 1
    stax._restore(module, "name", value=2)
    stax._restore(module, "other", value=3)
    stax._restore(module, "pi", ("numpy",))
    assert (module.name, module.other, module.pi) == (1, 3, np.pi)


def test_load_restores_jax_util_when_jax_has_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax.util", raising=False)
    monkeypatch.delattr(jax, "util", raising=False)
    stax._restore_util()
    assert callable(jax.util.safe_map)


# Implementation 2 takes the size of a shape; JAX will refuse that some day.
@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")
def test_what_is_said_to_work_works(rng):
    nt = stax.load()
    init_fn, apply_fn, kernel_fn = nt.stax.serial(nt.stax.Dense(8), nt.stax.Relu(), nt.stax.Dense(1))
    x = jax.numpy.asarray(rng.standard_normal((4, 3)))
    params = init_fn(jax.random.key(0), x.shape)[1]

    @jax.jit
    def by_hand(x):
        slopes = jax.tree.leaves(jax.jacobian(lambda p: apply_fn(p, x)[:, 0])(params))
        return sum(slope.reshape(4, -1) @ slope.reshape(4, -1).T for slope in slopes)

    for implementation in (1, 2):
        empirical = nt.empirical_ntk_fn(apply_fn, implementation=implementation)
        np.testing.assert_allclose(jax.jit(empirical)(x, None, params), by_hand(x), rtol=1e-12)
    batched = nt.batch(kernel_fn, batch_size=2, device_count=0)
    np.testing.assert_allclose(batched(x, None, "ntk"), kernel_fn(x, None, "ntk"), rtol=1e-7)
    sampled = nt.monte_carlo_kernel_fn(init_fn, apply_fn, jax.random.key(0), 2)
    assert sampled(x, None, "nngp").shape == (4, 4)

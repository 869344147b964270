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

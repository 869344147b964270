"""What keeps neural-tangents 0.6.5, archived in 2025, importable: names that JAX has moved or removed since 0.4.25."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

import jax

__all__ = ["load"]

#: Names that `jax.core` had, and where JAX keeps them now, best first.
CORE_NAMES = ("Jaxpr", "JaxprEqn", "Literal", "Var", "Primitive", "ClosedJaxpr")
CORE_HOMES = ("jax.extend.core", "jax._src.core")
UTIL_NAMES = ("safe_map", "safe_zip")


def load() -> types.ModuleType:
    """Make ``import neural_tangents`` work again on today's JAX, and return the module.

    One call before the first import of neural-tangents is all that an old program needs; one that is not to be touched
    runs after ``python -c "import ntkspec.kernel.stax as s, runpy; s.load(); runpy.run_path('old.py',
    run_name='__main__')"``. Importing ntkspec turns float64 on; ``JAX_ENABLE_X64=0`` in the environment keeps it off.

    Nothing that JAX has is replaced: a name is restored where it is missing, from where JAX keeps it now. The
    experimental part of neural-tangents, the only one that wants TensorFlow, is left out by an empty module in its
    place. A second call does nothing.

    Returns:
        The module ``neural_tangents``, with its `stax`, `predict`, `batch` and the rest.

    Raises:
        ImportError: if neural-tangents is not installed (the message says how to).

    Source: neural-tangents 0.6.5 (Novak et al. 2020), whose last release is of December 2023.

    Example:
        >>> import ntkspec as ns
        >>> _ = ns.kernel.stax.load()
        >>> import neural_tangents as nt
        >>> from neural_tangents import stax
        >>> init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(64), stax.Erf(), stax.Dense(1))
        >>> nt.stax is stax
        True
    """
    if importlib.util.find_spec("neural_tangents") is None:
        command = "pip install --no-deps neural-tangents==0.6.5 && pip install frozendict"
        raise ImportError(f"neural-tangents is not installed; without its own dependencies, which are many: {command}")
    for name in CORE_NAMES:
        _restore(jax.core, name, CORE_HOMES)
    _restore(jax.random, "KeyArray", value=jax.Array)
    _restore(jax.interpreters.ad, "zeros_like_p", value=object())
    _restore_util()
    if "neural_tangents.experimental" not in sys.modules:
        sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
    return importlib.import_module("neural_tangents")


def _restore(module: Any, name: str, homes: tuple[str, ...] = (), value: Any = None) -> None:
    """Give `module` a name it lacks, from the first home that has it."""
    # A name that JAX has withdrawn raises AttributeError from the module's own __getattr__.
    if not hasattr(module, name):
        successors = (getattr(importlib.import_module(home), name, None) for home in homes)
        setattr(module, name, next((one for one in successors if one is not None), value))


def _restore_util() -> None:
    """Put back the two functions of `jax.util`, which went with JAX 0.8, that neural-tangents imports."""
    try:
        util = importlib.import_module("jax.util")
    except ImportError:
        util = types.ModuleType("jax.util")
        sys.modules["jax.util"] = util
        jax.util = util  # type: ignore[attr-defined]
    for name in UTIL_NAMES:
        _restore(util, name, ("jax._src.util",))

"""Which frequencies will a coordinate network learn, how fast, and does the theory hold at its width?

The public names are listed once, in ``__init__.pyi``, and loaded on first use, so that
``import ntkspec`` and ``ntkspec --help`` cost nothing. Importing the package turns JAX's float64 on:
kernels of close points differ in digits that float32 does not have. Set the environment variable
``JAX_ENABLE_X64=0`` before the import to keep JAX's own default.
"""

import os as _os
import sys as _sys

import lazy_loader as _lazy

if "JAX_ENABLE_X64" not in _os.environ:
    # JAX reads the variable when it is imported; where that has happened, its switch must be told.
    _os.environ["JAX_ENABLE_X64"] = "1"
    if "jax" in _sys.modules:
        _sys.modules["jax"].config.update("jax_enable_x64", True)

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

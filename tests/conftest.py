import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

import ntkspec as ns  # turns float64 on before any test makes an array

# The references in tests/oracle are imported by name; pytest's importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent / "oracle"))


def pytest_addoption(parser):
    parser.addoption("--write-table", action="store_true", help="write docs/activations.md from what is measured")


def pytest_configure(config):
    """What one process of this run has compiled, the others and its own later modules read: most of the time is that.

    The folder is the run's own, so that no program outlives it. Workers and child processes find it in the environment.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="ntkspec-compiled-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        # JAX has been imported here, and reads the environment no more.
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture
def rng():
    return np.random.default_rng(20200618)


@pytest.fixture
def key():
    return jax.random.key(20200618)


@pytest.fixture
def run_json(capsys):
    """Run a command with --json; standard output must be one JSON object and nothing else."""

    def run(arguments):
        from ntkspec.cli import main  # it needs more than the core does

        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refusal(capsys):
    """Run a command that must be refused: exit 2, one line on standard error, nothing on standard output."""

    def run(arguments):
        from ntkspec.cli import main

        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("ntkspec: ")
        return captured.err

    return run


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    # A shell starts what it puts in the background with SIGINT ignored, and Python then leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _float64():
    assert ns.__all__
    assert jax.numpy.zeros(()).dtype == np.float64, "the tolerances of these tests are those of float64"


def _kernel(mapping):
    # One hidden layer compiles fastest; what a kernel is worth is tested in tests/kernel.
    return ns.kernel.compose(mapping, ns.kernel.MLP(depth=1, b_std=0.1))


@pytest.fixture(autouse=True)
def _closed_figures():
    """Figures that tests leave open add up in a process until matplotlib warns."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """A test process that kept the programs of all modules would grow to many gigabytes."""
    yield
    jax.clear_caches()


KERNELS = {
    "1d": lambda: _kernel(ns.mapping.gaussian(1, 8, scale=2.0)),
    "2d": lambda: _kernel(ns.mapping.gaussian(2, 8, scale=1.5)),
    "3d": lambda: _kernel(ns.mapping.gaussian(3, 8, scale=1.0)),
    "1d periodic": lambda: _kernel(ns.mapping.power_law(8, p=1.0)),
    "2d periodic": lambda: _kernel(ns.mapping.from_frequencies([[1.0, 0], [0, 1], [2, -3], [1, 1]], [1, 1, 0.5, 0.7])),
}
SHAPES = {"1d": (13,), "2d": (5, 4), "3d": (4, 3, 2), "1d periodic": (12,), "2d periodic": (6, 5)}


@pytest.fixture(scope="session")
def kernels():
    return {name: build() for name, build in KERNELS.items()}


@pytest.fixture(scope="session")
def lattices(kernels):
    return {name: ns.operator.lattice(kernels[name], SHAPES[name]) for name in KERNELS}


@pytest.fixture(scope="session")
def masked(kernels):
    """Half of the points of each lattice, corners among them so that no sublattice carries them."""
    kept = {}
    for name, shape in SHAPES.items():
        mask = np.random.default_rng(3).random(shape) < 0.5
        mask[(0,) * len(shape)] = mask[(-1,) * len(shape)] = mask[(1,) * len(shape)] = True
        kept[name] = ns.operator.lattice(kernels[name], shape, mask), mask
    return kept

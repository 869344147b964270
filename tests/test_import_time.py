"""A person waits for neither `import ntkspec` nor `ntkspec --help`: names load when they are used.

Wall-clock times of a busy machine only err upwards, so the best of a few runs is what is held to the limits.
"""

import os
import subprocess
import sys
import time

import pytest

RUNS = 5
HELP = "import sys; from ntkspec.cli import main; sys.argv = ['ntkspec', '--help']; sys.exit(main())"


def run(code: str) -> str:
    # Byte code is cached as it is for a user, else every run would compile the package anew.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout


def best_seconds(*codes: str) -> list[float]:
    """The best time of each code, run in turn."""
    best = [float("inf")] * len(codes)
    for _ in range(RUNS):
        for i, code in enumerate(codes):
            start = time.perf_counter()
            run(code)
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def test_import_costs_little_beside_jax() -> None:
    jax, both = best_seconds("import jax", "import jax, ntkspec")
    assert both - jax <= 0.3


def test_help_is_quick() -> None:
    empty, shown = best_seconds("pass", HELP)
    # The limit holds where Python itself starts in 0.05 s; a slower machine is given as much more.
    assert shown <= max(0.5, 10 * empty)


def test_help_is_shown() -> None:
    assert "report" in run(HELP)


@pytest.mark.parametrize("heavy", ["jax", "xarray", "matplotlib"])
def test_import_leaves_heavy_packages_out(heavy: str) -> None:
    assert run(f"import sys, ntkspec; print({heavy!r} in sys.modules)").strip() == "False"


def test_help_leaves_jax_out() -> None:
    code = f"import sys\ntry:\n    exec({HELP!r})\nexcept SystemExit:\n    print('jax' in sys.modules)"
    assert run(code).splitlines()[-1] == "False"

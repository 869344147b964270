"""What the package needs is small; an optional part that is not installed says in one line how to get it."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = configparser.ConfigParser()
SETUP.read(Path(__file__).parents[1] / "setup.cfg")


def without(*packages, code):
    """Run code in a Python that has none of these packages."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({packages}))\n"
    return subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True, timeout=120)


APP = ("matplotlib", "PIL", "skimage", "tifffile", "jinja2", "tyro", "tqdm", "jax_finufft", "diffrax")


def test_hard_dependencies_are_few():
    assert len(SETUP["options"]["install_requires"].split()) < 19


def test_numerics_need_no_extra():
    code = "import ntkspec as ns; [getattr(ns, name) for name in ns.__all__ if name not in ('plot', 'report')]"
    ended = without(*APP, code=code)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("package", "code", "extra"),
    [
        ("matplotlib", "import ntkspec as ns; ns.plot", "app"),
        ("jinja2", "import ntkspec as ns; ns.report", "app"),
        ("tqdm", "import ntkspec as ns; ns.progress.TerminalProgress().start('work')", "app"),
        ("skimage", "import ntkspec as ns; ns.task.image.astronaut()", "app"),
        ("PIL", f"import ntkspec as ns; ns.task.image.from_file({__file__!r})", "app"),
        ("jax_finufft", "from ntkspec.operator._scattered._fourier import transforms; transforms()", "scattered"),
        (
            "diffrax",
            "import ntkspec as ns; k = ns.kernel.compose(ns.mapping.identity(1), ns.kernel.MLP(1)); "
            "K = ns.operator.dense(k, [[0.0], [1.0]]); how = ns.dynamics.huber(1.0); "
            "ns.dynamics.function_space_flow(K, [0.0, 1.0], point_loss=how, steps=[1], learning_rate=0.1)",
            "flow",
        ),
    ],
)
def test_a_part_that_is_not_installed_says_how_to_get_it(package, code, extra):
    lines = without(package, code=code).stderr.splitlines()
    line = f"this needs {package}, which is not installed: pip install 'ntkspec[{extra}]'"
    assert f"ntkspec.extras.MissingExtra: {line}" in lines


def test_the_command_line_says_so_in_one_line():
    ended = without("tyro", code="from ntkspec.__main__ import entry; entry()")
    assert ended.returncode == 2
    assert ended.stderr == "ntkspec: this needs tyro, which is not installed: pip install 'ntkspec[app]'\n"


def test_another_module_that_is_missing_is_no_extra():
    from ntkspec.extras import needs

    with pytest.raises(ModuleNotFoundError, match="no_such_package"), needs("app", "tqdm"):
        import no_such_package  # noqa: F401

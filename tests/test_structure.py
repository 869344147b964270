"""The house: arrows between rooms go one way, rooms stay small, and the public names are pinned."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ntkspec
from ntkspec.kernel._base import Layered, Network
from ntkspec.kernel._gram import Tiled

PACKAGE = Path(ntkspec.__file__).parent


def table_of_rooms():
    """What each room may import, in the order of CONTRIBUTING's table: {room: rooms}."""
    rows = re.findall(r"^\| (`.*?) \| .* \| (.*?) ?\|$", (PACKAGE.parent / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    allowed, leaves = {}, set()
    for rooms, named in rows:
        mine = [name.rstrip("/") for name in re.findall(r"`(.*?)`", rooms)]
        direct = re.findall(r"`(.*?)`", named) + sorted(leaves)
        leaves |= set(mine) if not leaves or named == "`extras`" else set()
        # A room that is named before its own row has no entry yet: the table is not in order.
        seen = set(direct).union(*(allowed[room] for room in direct))
        allowed |= dict.fromkeys(mine, seen)
    return allowed


ALLOWED = table_of_rooms()
NUMERICS = [
    "checks",
    "grid",
    "limits",
    "module",
    "mapping",
    "kernel",
    "operator",
    "dynamics",
    "eigen",
    "empirical",
    "prediction",
    "generalisation",
    "selection",
    "trainer",
]
SHOWN = {"plot", "report", "cli", "tqdm", "matplotlib", "tyro", "jinja2", "ipywidgets"}

PUBLIC = [
    "config",
    "design",
    "dynamics",
    "eigen",
    "empirical",
    "generalisation",
    "kernel",
    "limits",
    "mapping",
    "operator",
    "plot",
    "predict",
    "progress",
    "psnr",
    "record",
    "report",
    "selection",
    "study",
    "task",
    "trainer",
    "validate",
    "validation",
]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(path, *, module_level=False):
    """Dotted names a file imports, relative ones resolved; what only a type checker sees is left out."""
    found, queue = [], [ast.parse(path.read_text())]
    while queue:
        node = queue.pop()
        if is_type_checking(node) or (module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = ["ntkspec", *path.relative_to(PACKAGE).parent.parts]
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{module}.{alias.name}" for alias in node.names]
        queue += list(ast.iter_child_nodes(node))
    return found


def rooms_seen(path):
    parts = [name.split(".") for name in imports(path)]
    return {name[1] for name in parts if name[0] == "ntkspec" and len(name) > 1} - {room_of(path)}


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def name_of(path):
    return str(path.relative_to(PACKAGE))


def test_the_reader_of_imports_sees_what_it_must(tmp_path):
    source = PACKAGE / "eigen" / "made_up.py"

    class Text:
        def __init__(self, text):
            self.text = text

        def read_text(self):
            return self.text

        def relative_to(self, other):
            return source.relative_to(other)

    text = Text(
        "from . import a\nfrom ..plot import b\nimport jax.numpy as c\ndef f():\n    from ntkspec.cli import d\n"
    )
    found = ["jax.numpy", "ntkspec.cli.d", "ntkspec.eigen.a", "ntkspec.plot.b"]
    assert sorted(imports(text)) == found
    assert sorted(imports(text, module_level=True)) == [name for name in found if "cli" not in name]
    assert imports(Text("if TYPE_CHECKING:\n    import jax\n")) == []


def test_every_module_has_a_room():
    assert {room_of(path) for path in modules()} == set(ALLOWED)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_arrows_go_one_way(path):
    room = room_of(path)
    assert rooms_seen(path) <= ALLOWED[room], f"{room} must not import {sorted(rooms_seen(path) - ALLOWED[room])}"


def test_the_table_keeps_training_and_prediction_apart():
    assert ALLOWED["trainer"].isdisjoint({"operator", "dynamics", "eigen", "prediction"})
    assert ALLOWED["prediction"].isdisjoint({"trainer", "empirical", "task"})
    assert ALLOWED["task"] == ALLOWED["plot"] == ALLOWED["mapping"]


def cycle(arrows):
    """A closed walk along arrows {name: names}, or none."""
    done = set()

    def walk(name, before):
        if name in before:
            return [*before[before.index(name) :], name]
        closed = None
        if name not in done:
            closed = next(filter(None, (walk(other, [*before, name]) for other in arrows.get(name, ()))), None)
            done.add(name)
        return closed

    return next(filter(None, (walk(name, []) for name in arrows)), None)


def arrows_inside(paths):
    """Which module of a room imports which, in functions too; a room's `__init__` gathers and is left out."""
    names = {dotted(path) for path in paths if path.name != "__init__.py"}
    seen = {dotted(path): imports(path) for path in paths}
    return {
        name: {other for found in seen[name] for other in (found, found.rpartition(".")[0]) if other in names}
        for name in names
    }


@pytest.mark.parametrize("room", sorted({room_of(path) for path in modules()}))
def test_arrows_inside_a_room_go_one_way(room):
    assert cycle(arrows_inside([path for path in modules() if room_of(path) == room])) is None


def test_a_circle_is_seen():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) is None


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) in NUMERICS], ids=name_of)
def test_numerics_neither_show_nor_print(path):
    roots = {name.split(".")[1 if name.startswith("ntkspec.") else 0] for name in imports(path)}
    assert not roots & SHOWN
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


LIGHT = ["cli", "config", "task", "record", "progress"]


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) in LIGHT], ids=name_of)
def test_light_rooms_do_not_import_jax_with_themselves(path):
    roots = {name.split(".")[0] for name in imports(path, module_level=True)}
    assert not roots & {"jax", "jaxlib"}
    if room_of(path) == "task":
        assert not {name.split(".")[0] for name in imports(path)} & {"jax", "jaxlib"}


def test_importing_the_package_and_its_light_rooms_loads_no_jax():
    present = [room for room in LIGHT if (PACKAGE / room).exists() or (PACKAGE / f"{room}.py").exists()]
    code = (
        "import sys, ntkspec\n"
        + "".join(f"import ntkspec.{room}\n" for room in present)
        + "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_rooms_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400, "a room past a few hundred lines is two rooms"


#: What a class of these rooms answers without deriving from it.
PROTOCOLS = {
    "mapping": [ntkspec.mapping.Mapping, ntkspec.mapping.StationaryMapping],
    "kernel": [ntkspec.kernel.Activation, Network, Layered, Tiled, ntkspec.mapping.Mapping],
}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_public_methods_are_documented_by_themselves_or_by_what_they_answer(path):
    module = importlib.import_module(".".join(("ntkspec", *path.relative_to(PACKAGE).with_suffix("").parts)))
    classes = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    for kind in filter(inspect.isclass, classes):
        for name, value in vars(kind).items():
            if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                answered = [kind, *PROTOCOLS.get(room_of(path), [])]
                documented = [inspect.getdoc(getattr(one, name)) for one in answered if hasattr(one, name)]
                assert any(documented), f"{kind.__name__}.{name} says nothing"


def test_public_names_are_pinned():
    assert sorted(ntkspec.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(ntkspec))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_there(name):
    assert getattr(ntkspec, name) is not None


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("mapping", {"basic", "from_frequencies", "gaussian", "identity", "positional", "power_law"}),
        ("kernel", {"MLP", "Activation", "ComposedKernel", "Relu", "compose", "stax"}),
        ("operator", {"Dense", "Lattice", "Operator", "dense", "largest_eigenvalue", "lattice", "scattered"}),
        ("eigen", {"bandwidth", "convergence", "spectrum"}),
        ("dynamics", {"gradient_descent", "gradient_flow", "heavy_ball", "max_learning_rate", "nesterov", "ridge"}),
        ("empirical", {"dense", "movement", "ntk", "operator"}),
        ("trainer", {"train"}),
        ("validation", {"explain", "psnr", "validate", "width_law"}),
    ],
)
def test_names_that_hold(module, names):
    found = importlib.import_module(f"ntkspec.{module}")
    assert names <= set(found.__all__)
    assert all(hasattr(found, name) for name in found.__all__)


def test_float64_can_be_left_off():
    code = "import ntkspec, jax; assert jax.numpy.zeros(()).dtype == 'float32'"
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, env={"JAX_ENABLE_X64": "0", "PATH": "/usr/bin:/bin"}
    )


def test_float64_is_turned_on_also_after_jax():
    code = "import jax, ntkspec; assert jax.numpy.zeros(()).dtype == 'float64'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env={"PATH": "/usr/bin:/bin"})

"""What docs show a person runs as it stands, and the table of neural_tangents.md is that of the repair."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ntkspec.kernel import stax

PAGE = Path(__file__).parents[1] / "docs" / "neural_tangents.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


def test_the_blocks_run_one_after_the_other(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 4
    names = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    loss_and_bound, shape, difference = capsys.readouterr().out.splitlines()
    assert float(loss_and_bound.split("]")[0].strip("[ ").split()[1]) < float(loss_and_bound.strip("[ ").split()[0])
    assert shape == "(4, 4)"
    # The diagonal's coincident pairs.
    assert float(difference) < 1e-7


def test_a_mapping_of_ones_own_stands_before_a_network(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.with_name("own_mapping.md").read_text(), flags=re.DOTALL)
    exec("\n".join(blocks), {})
    ends, differentiable = capsys.readouterr().out.splitlines()
    assert len(set(ends.split())) == 1
    assert differentiable == "True"


def test_the_table_names_what_is_restored(page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name in (*stax.CORE_NAMES, *stax.UTIL_NAMES, "KeyArray", "zeros_like_p", "neural_tangents.experimental"):
        assert any(name in row for row in rows), name
    assert "neural-tangents==0.6.5" in page


@pytest.mark.parametrize("text", [PAGE.read_text(), stax.load.__doc__], ids=["page", "docstring"])
def test_an_old_program_runs_untouched(text, tmp_path):
    (one_liner,) = re.findall(r'python -c "(.*?)"', text, flags=re.DOTALL)
    (tmp_path / "old.py").write_text(
        "from neural_tangents import stax\nassert __name__ == '__main__'\nprint(stax.Dense(1)[2] is not None)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", " ".join(one_liner.split())], cwd=tmp_path, check=True, timeout=120, capture_output=True
    )
    assert run.stdout == b"True\n"

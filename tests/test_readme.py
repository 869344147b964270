"""What the README shows a person runs as it stands."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme():
    return (ROOT / "README.md").read_text()


def test_the_example_runs_and_is_ten_lines_at_most(readme, tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    plt.close("all")
    assert (tmp_path / "learned.png").stat().st_size > 10_000
    assert float(capsys.readouterr().out.split()[0]) > 1


def test_what_the_readme_points_at_is_there(readme):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for name in re.findall(r"make ([a-z-]+)", readme):
        assert name in (*targets, "for"), name

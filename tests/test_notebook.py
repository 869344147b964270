"""The tour runs from top to bottom, and its two files hold the same cells."""

from pathlib import Path

import jupytext
import nbclient
import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def test_script_and_notebook_are_the_same():
    script, notebook = jupytext.read(NOTEBOOKS / "tour.py"), nbformat.read(NOTEBOOKS / "tour.ipynb", as_version=4)
    assert [(cell.cell_type, cell.source) for cell in script.cells] == [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]
    # Without the full kernelspec JupyterLab asks which kernel to take, and "Run All" waits behind the dialog.
    assert set(notebook.metadata.kernelspec) >= {"name", "display_name", "language"}


def test_the_tour_runs_and_reaches_its_verdict():
    notebook = jupytext.read(NOTEBOOKS / "tour.py")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "At width 512" in printed
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 7

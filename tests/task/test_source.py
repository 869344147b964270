import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from ntkspec import task
from ntkspec.task import _source as source

VALUES = np.random.default_rng(0).random(32)


def write_npy(path):
    with path.open("wb") as file:
        np.save(file, VALUES)


def write_wav(path):
    with path.open("wb") as file:
        wavfile.write(file, 8000, VALUES)


def write_png(path):
    Image.fromarray((255 * VALUES[:16, None] * VALUES[None, :16]).astype(np.uint8)).save(path, format="png")


@pytest.mark.parametrize(
    ("write", "name", "dim"),
    [
        (write_npy, "a.npy", 1),
        (write_npy, "A.NPY", 1),
        (write_npy, "a.dat", 1),
        (write_wav, "a.wav", 1),
        (write_wav, "a.WAV", 1),
        (write_wav, "recording", 1),
        (write_png, "a.png", 2),
        (write_png, "photograph", 2),
    ],
)
def test_kind_by_suffix_or_content(tmp_path, write, name, dim):
    write(tmp_path / name)
    loaded = task.load(tmp_path / name)
    assert loaded.dim == dim
    assert loaded.source == name


def test_nothing_named_is_the_astronaut():
    loaded = task.load()
    assert loaded.name == "astronaut"
    assert loaded.shape == (128, 128)


def test_limits_reach_their_loader(tmp_path):
    write_npy(tmp_path / "a.npy")
    write_png(tmp_path / "a.png")
    assert task.load(tmp_path / "a.npy", max_length=16).shape == (16,)
    assert task.load(tmp_path / "a.png", max_size=8).shape == (8, 8)
    assert task.load(max_size=32).shape == (32, 32)


def test_text_is_neither(tmp_path):
    (tmp_path / "a.md").write_text("1,2,3")
    with pytest.raises(ValueError, match=r"a\.md is not an image; give a PNG.*or a 1-D signal as \.npy or \.wav"):
        task.load(tmp_path / "a.md")


def test_missing_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        task.load(tmp_path / "absent.wav")
    with pytest.raises(ValueError, match="is a folder"):
        source.is_signal(tmp_path)


def write_table(path, columns=3, gap=False):
    rows = np.random.default_rng(1).random((40, columns)).astype(object)
    if gap:
        rows[3, -1] = ""
    path.write_text("\n".join([",".join("abc"[:columns]), *(",".join(map(str, row)) for row in rows)]))


def test_a_table_is_points_and_one_column_of_it_a_signal(tmp_path):
    write_table(tmp_path / "t.csv")
    loaded = task.load(tmp_path / "t.csv", inputs="a,b", outputs="c", held_out=0.5)
    assert isinstance(loaded, task.Scattered)
    assert len(loaded.test_points) == 20
    column = task.load(tmp_path / "t.csv", inputs="row", outputs="b")
    assert isinstance(column, task.Task)
    assert (column.shape, column.source) == ((40,), "b of t.csv")
    write_table(tmp_path / "one.csv", 1)
    assert task.load(tmp_path / "one.csv").shape == (40,)
    # Samples that are missing leave the others where they are.
    write_table(tmp_path / "gap.csv", 1, gap=True)
    rest = task.load(tmp_path / "gap.csv", held_out=0)
    assert isinstance(rest, task.Scattered)
    np.testing.assert_allclose(rest.train_points[:5, 0] * rest.inputs[0].length, [0, 1, 2, 4, 5], atol=1e-12)


@pytest.mark.parametrize("name", [None, "a.npy"])
def test_columns_are_of_tables_alone(tmp_path, name):
    write_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"about the columns of a table .*; leave them out"):
        task.load(None if name is None else tmp_path / name, inputs="x")

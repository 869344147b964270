import sys

import numpy as np
import pytest

from ntkspec import limits
from ntkspec.extras import MissingExtra
from ntkspec.task import points

RNG = np.random.default_rng(7)
X = RNG.uniform([300, -2], [400, 5], (60, 2))
U, P = np.sin(X[:, 0] / 20), X[:, 1] ** 2


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def table(path, header="x,y,p,u", separator=",", rows=None):
    rows = np.column_stack([X, P, U]) if rows is None else rows
    lines = [header] if header else []
    lines += [separator.join(str(cell) for cell in row) for row in rows]
    return write(path, "\n".join(lines))


def own(task, points):
    """Coordinates in their own units."""
    return np.stack([a.offset + a.length * c for a, c in zip(task.inputs, points.T, strict=True)], axis=1)


def every(task):
    """All rows in their own units, sorted."""
    x = np.concatenate([own(task, task.train_points), own(task, task.test_points)])
    y = np.concatenate([task.train_values, task.test_values]).reshape(len(x), -1)
    y = np.stack([a.offset + a.length * c for a, c in zip(task.outputs, y.T, strict=True)], axis=1)
    return np.array(sorted(np.column_stack([x, y]).tolist()))


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("header", [True, False])
def test_a_table_is_read_to_the_value(tmp_path, separator, header):
    path = table(tmp_path / "t.csv", separator.join("xypu") if header else None, separator)
    task = points.from_file(path, "x,y" if header else [0, 1], outputs=["p", "u"] if header else "2,-1")
    assert (task.train_points.shape, task.train_values.shape, task.test_points.shape) == ((48, 2), (48, 2), (12, 2))
    np.testing.assert_allclose(every(task), np.array(sorted(np.column_stack([X, P, U]).tolist())), rtol=1e-12)
    assert [axis.name for axis in task.inputs] == (["x", "y"] if header else ["0", "1"])


def test_a_decimal_comma_is_read(tmp_path):
    lines = "\n".join(f"{a};{b}".replace(".", ",") for a, b in zip(X[:, 0], U, strict=True))
    task = points.from_file(write(tmp_path / "t.csv", "Länge;u\n" + lines))
    np.testing.assert_allclose(every(task), np.array(sorted(np.column_stack([X[:, 0], U]).tolist())), rtol=1e-12)


def test_by_default_the_last_column_is_the_value_and_text_is_left_out(tmp_path):
    rows = [[*x, "wing", u] for x, u in zip(X, U, strict=True)]
    task = points.from_file(table(tmp_path / "t.csv", "x,y,part,u", rows=rows))
    assert ([a.name for a in task.inputs], [a.name for a in task.outputs]) == (["x", "y"], ["u"])
    assert "Columns without numbers were left out: part." in task.notices
    assert task.channels is None


def test_the_index_that_pandas_writes_is_no_coordinate(tmp_path):
    import pandas as pd

    pd.DataFrame({"x": X[:, 0], "u": U}).to_csv(tmp_path / "t.csv")
    assert [a.name for a in points.from_file(tmp_path / "t.csv").inputs] == ["x"]


def test_arrays_of_an_archive_are_groups(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, fields=np.stack([P, U], axis=1))
    task = points.from_file(tmp_path / "t.npz")
    assert [a.name for a in task.inputs] == ["x0", "x1"]
    assert [a.name for a in task.outputs] == ["fields0", "fields1"]
    one = points.from_file(tmp_path / "t.npz", inputs="x", outputs="fields1")
    np.testing.assert_allclose(every(one)[:, 2], every(task)[:, 3], rtol=1e-12)


def test_axes_are_rescaled_as_a_lattice_and_frequencies_known_in_both_units():
    x = np.stack(np.meshgrid(np.arange(10) * 3.0 + 7, np.arange(5) / 100, indexing="ij"), -1).reshape(-1, 2)
    task = points.from_arrays(x, np.arange(50.0), held_out=0)
    np.testing.assert_allclose(task.train_points * [10, 5], np.rint(task.train_points * [10, 5]), atol=1e-12)
    assert task.per_own_unit(2.0) == pytest.approx({"x0": 2 / 30, "x1": 2 / 0.05})
    assert task.test_points.shape == (0, 2)


def test_values_fill_half_a_unit_either_side():
    task = points.from_arrays(X, np.stack([P, U], axis=1))
    values = np.concatenate([task.train_values, task.test_values])
    np.testing.assert_allclose(values.min(axis=0), -0.5)
    np.testing.assert_allclose(values.max(axis=0), 0.5)


def test_rows_with_gaps_are_dropped_and_counted(tmp_path):
    rows = np.column_stack([X, P, U]).astype(object)
    rows[3, 0], rows[4, 3], rows[5, 2] = "", "n/a", "missing"
    task = points.from_file(table(tmp_path / "t.csv", rows=rows), outputs="u")
    assert "3 of 60 rows were dropped, for they hold no number in x, p, u." in task.notices
    assert len(every(task)) == 57


def test_rows_at_one_place_are_averaged_and_their_noise_told():
    noise = np.random.default_rng(1).normal(0, 0.01, (50, 4))
    x = np.arange(50.0)
    clean = np.sin(x / 5)
    task = points.from_arrays(np.repeat(x, 4), (clean[:, None] + noise).ravel())
    assert len(task.train_points) + len(task.test_points) == 50
    np.testing.assert_allclose(every(task)[:, 1], clean + noise.mean(axis=1), atol=1e-12)
    (notice,) = [notice for notice in task.notices if "share" in notice]
    assert "200 of 200 rows share their coordinates with another (50 places)" in notice
    # Of 150 degrees of freedom, within five standard errors.
    said = float(notice.split("standard deviation of ")[1].split(" %")[0]) / 100 * task.outputs[0].length
    assert abs(said - 0.01) < 5 * 0.01 / np.sqrt(2 * 150)
    same = points.from_arrays(np.repeat(x, 2), np.repeat(clean, 2))
    assert any("with the same values" in notice for notice in same.notices)


def test_held_out_places_follow_the_seed():
    first, again, other = (points.from_arrays(X, U, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.test_points, again.test_points)
    assert not np.array_equal(first.test_points, other.test_points)
    assert len(points.from_arrays(X, U, held_out=0.5).test_points) == 30


@pytest.mark.parametrize(("train", "test"), [("train", "test"), (0, 1), ("False", "True")])
def test_a_column_says_which_rows_are_held_out(tmp_path, train, test):
    rows = [[*x, u, test if i % 3 == 0 else train] for i, (x, u) in enumerate(zip(X, U, strict=True))]
    path = table(tmp_path / "t.csv", "x,y,u,part", rows=rows)
    task = points.from_file(path, held_out="part")
    np.testing.assert_allclose(own(task, task.test_points), X[::3], rtol=1e-12)
    assert [a.name for a in task.outputs] == ["u"]


def test_places_on_both_sides_of_a_given_split_are_told():
    x = np.repeat(np.arange(20.0), 2)
    task = points.from_arrays(x, np.sin(x), held_out=np.arange(40) % 2 == 1)
    assert "20 held-out places are also learned from, which makes the held-out error too good." in task.notices


def test_a_mask_splits_arrays():
    held = np.arange(60) % 4 == 0
    np.testing.assert_allclose(own(task := points.from_arrays(X, U, held), task.test_points), X[held])


def test_a_coordinate_that_never_moves_is_left_out():
    task = points.from_arrays(np.column_stack([X, np.full(60, 3.0)]), U, inputs=["x", "y", "z"])
    assert task.dim == 2
    assert "Coordinates that are the same in every row were left out: z." in task.notices


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is not a table of separated values"),
        ("x,u\n1,2\n3,4,5,6\n", {}, "is not a table of separated values"),
        ("x,u\n1,2\n", {}, "1 complete rows; expected at least 8"),
        ("x\n" + "1\n" * 9, {}, "1 column, which leaves 0 for coordinates and 1 for values"),
        ("x,u\n" + "1,2\n" * 9, {}, "u of t.csv is constant"),
        ("x,u\n" + "\n".join(f"1,{i}" for i in range(9)), {}, "all 9 rows of t.csv are at one place"),
        ("x,u\n" + "\n".join(f"{i},{i}" for i in range(9)), {"held_out": 0.5}, "leaves 5 places to learn from"),
    ],
)
def test_a_table_that_holds_no_points_is_refused(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        points.from_file(write(tmp_path / "t.csv", text), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "z"}, "inputs='z': t.csv has no column 'z'; expected one of x, y, p, u, or a position from 0 to 3"),
        ({"outputs": "9"}, "outputs='9': t.csv has no column '9'"),
        ({"inputs": "x,x"}, "names a column twice"),
        ({"inputs": "x,u", "outputs": "u"}, "u of t.csv is asked for as input and as output"),
        ({"held_out": 1.0}, "held_out=1.0; expected a share from 0 up to 1"),
        ({"held_out": -0.1}, "held_out=-0.1; expected a share"),
        ({"held_out": "p"}, "column 'p' of t.csv holds .*; expected train or test"),
        ({"seed": -1}, "seed=-1; expected a whole number"),
    ],
)
def test_what_is_asked_for_must_be_there(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        points.from_file(table(tmp_path / "t.csv"), **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, U[:5]), r"points have shape \(60, 2\) and values \(5,\)"),
        ((X, np.where(U > 0, np.nan, U)), "NaN or infinity"),
        ((X, U, np.ones(3, bool)), r"held_out has shape \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        points.from_arrays(*arguments)


@pytest.mark.parametrize("content", [b"PK\x03\x04 no archive", b"text"])
def test_a_damaged_archive_is_refused(tmp_path, content):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a complete \.npz archive"):
        points.from_file(tmp_path / "t.npz")


def test_an_archive_is_measured_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", x=np.zeros(10**5), u=np.zeros(10**5))
    with limits.limited(memory=10**6), pytest.raises(ValueError, match=r"reading t\.npz \(2 MiB\) would need"):
        points.from_file(tmp_path / "t.npz")


def test_arrays_of_several_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, u=U[:4])
    with pytest.raises(ValueError, match=r"arrays of shapes x \(60, 2\), u \(4,\)"):
        points.from_file(tmp_path / "t.npz")


def test_parquet_is_read_or_says_what_it_needs(tmp_path, monkeypatch):
    import pandas as pd

    frame = pd.DataFrame({"x": X[:, 0], "u": U})
    path = tmp_path / "t.parquet"
    try:
        frame.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
    else:
        np.testing.assert_allclose(every(points.from_file(path))[:, 1], U[np.argsort(X[:, 0])], rtol=1e-12)
        path.write_bytes(b"PAR1")
        with pytest.raises(ValueError, match=r"is not a \.parquet table"):
            points.from_file(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"needs pyarrow.*ntkspec\[parquet\]"):
        points.from_file(path)

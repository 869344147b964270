"""Points with values from a table on the command line: what is predicted is what the rooms say of those points."""

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import study
from ntkspec.cli import main
from ntkspec.config import NetworkConfig, StudyConfig

SMALL = ["--num-frequencies", "16"]
COLUMNS = ["--inputs", "x,y", "--outputs", "p,u"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """400 scattered points in units of their own, with two outputs, and a column that splits them."""
    rng = np.random.default_rng(0)
    s = rng.random((400, 2))
    rows = np.column_stack(
        [
            300 + 100 * s[:, 0],
            0.02 * s[:, 1],
            np.sin(4 * np.pi * s[:, 0]) * s[:, 1],
            1000 * np.exp(-10 * ((s - 0.5) ** 2).sum(axis=1)),
            rng.random(400) < 0.25,
        ]
    )
    path = tmp_path_factory.mktemp("points") / "points.csv"
    np.savetxt(path, rows, delimiter=",", header="x,y,p,u,split", comments="")
    return str(path)


def test_points_are_predicted_where_they_are_held_out(capsys, run_json, table, tmp_path):
    out = tmp_path / "out"
    options = ["--scales", "0.5", "1", "--steps", "0", "10", "1000", "--held-out", "0.2", "--out", str(out)]
    result = run_json(["predict", table, *COLUMNS, *options, *SMALL])
    task = ns.task.points.from_file(table, "x,y", "p,u")
    assert (len(task.train_points), len(task.test_points), task.channels) == (320, 80, 2)
    assert result["notices"] == list(task.notices)
    one = study.problems(task, StudyConfig(scales=(1.0,), num_frequencies=16))[1.0]
    dense = ns.operator.dense(one.kernel, task.train_points)
    p = ns.predict(
        dense, task.train_values, steps=[0, 10, 1000], learning_rate=one.learning_rate, unseen=task.test_points
    )
    expected = -10 * np.log10(((p.unseen.values - task.test_values) ** 2).mean(axis=(1, 2)))
    np.testing.assert_allclose(result["scales"][1]["test_psnr"], expected, rtol=1e-6)
    lengths = [axis.length for axis in task.inputs]
    own = result["scale_in_own_units"]
    np.testing.assert_allclose([own["x"], own["y"]], result["best_scale"] / np.array(lengths))
    kept = ns.record.load(out / "prediction.nc")
    assert (list(kept.axis.values), list(kept.channel.values)) == (["x", "y"], ["p", "u"])
    assert (out / "prediction.png").stat().st_size > 1000
    assert main(["predict", table, *COLUMNS, *options[:-2], *SMALL]) == 0
    assert "that scale in cycles per unit of each column: " in capsys.readouterr().out


def test_a_column_splits_points_and_the_last_one_is_the_value(run_json, table):
    result = run_json(["predict", table, "--held-out", "split", "--scales", "1", "--steps", "0", "100", *SMALL])
    assert "Coordinates: x, y, p; values: u." in result["notices"]
    assert result["scales"][0]["test_psnr"][1] > result["scales"][0]["test_psnr"][0]
    none = run_json(["predict", table, *COLUMNS, "--held-out", "0", "--scales", "1", "--steps", "0", "9", *SMALL])
    assert "test_psnr" not in none["scales"][0]


def test_points_are_designed_for(run_json, table, tmp_path):
    result = run_json(["design", table, *COLUMNS, "--scales", "0.5", "1", "2", "--out", str(tmp_path / "out"), *SMALL])
    assert result["scale_in_own_units"]["x"] == pytest.approx(result["scale"] / 100, rel=0.02)
    task = ns.task.points.from_file(table, "x,y", "p,u")
    found = ns.design(task, scales=[0.5, 1, 2], num_frequencies=16)
    assert result["scale"] == pytest.approx(found.attrs["scale"])
    assert found.attrs["num_points"] == 320


def test_points_are_validated_at_training_and_held_out_points(run_json, table, tmp_path):
    options = ["--scales", "1", "--steps", "0", "5", "--seeds", "2", "--width", "32", *SMALL]
    result = run_json(["validate", table, *COLUMNS, *options, "--out", str(tmp_path)])
    assert result["error"][0] == 0
    assert 0 < result["error"][1] < 1
    kept = ns.record.load(tmp_path / "held_out.nc")
    task = ns.task.points.from_file(table, "x,y", "p,u")
    np.testing.assert_array_equal(kept.unseen_target, task.test_values)
    expected = -10 * np.log10(((kept.unseen.values - task.test_values) ** 2).mean((1, 2)))
    np.testing.assert_allclose(result["test_psnr"], expected, rtol=1e-6)
    assert result["trained_test_psnr"][0] == pytest.approx(result["test_psnr"][0])
    # Within the error of the networks, at unseen points as at the others.
    off = np.sqrt(((kept.trained - kept.unseen).values ** 2).mean((1, 2)) / (task.train_values**2).mean())
    assert off[0] == 0 < off[1] < 2 * result["error"][1]
    np.testing.assert_allclose(np.mean(result["trained_test_psnr_by_seed"], axis=0), result["trained_test_psnr"])
    assert (tmp_path / "held_out.png").exists()
    assert set(result["scale_in_own_units"]) == {"x", "y"}
    sigmoid = run_json(["validate", table, *COLUMNS, *options, "--output", "sigmoid"])
    assert "Values raised by 0.5 to [0, 1], where a sigmoid's are." in sigmoid["notices"]
    logistic = run_json(["validate", table, *COLUMNS, *options, "--output", "sigmoid", "--loss", "logistic"])
    assert 0 < logistic["error"][1] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inputs", "z"], "--inputs z: points.csv has no column 'z'; expected one of x, y, p, u, split"),
        (["--held-out", "1.5"], "--held-out 1.5; expected a share from 0 up to 1"),
        (["--held-out", "q"], "has no column 'q'"),
    ],
)
def test_columns_that_are_not_there_are_refused_before_anything_is_written(refusal, table, tmp_path, options, message):
    assert message in refusal(["predict", table, *options, "--out", str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


def test_whole_grids_of_a_table_are_known_for_lattices():
    x = np.stack(np.meshgrid(np.arange(12) * 2.0, np.arange(9) / 7, indexing="ij"), -1).reshape(-1, 2)
    task = ns.task.points.from_arrays(x, np.sin(x[:, 0]) * x[:, 1], held_out=0.25)
    config = StudyConfig(NetworkConfig(depth=1), (1.0,), 8)
    one = study.problems(task, config)[1.0]
    assert isinstance(one.K, ns.operator.Lattice)
    p = study.predicted(one, [0, 50])
    dense = ns.operator.dense(one.kernel, task.train_points)
    options = {"steps": [0, 50], "learning_rate": one.learning_rate, "unseen": task.test_points}
    np.testing.assert_allclose(p.unseen, ns.predict(dense, task.train_values, **options).unseen, atol=1e-6)

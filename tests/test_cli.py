"""The command line: what it prints, what it writes, and how it refuses."""

import signal as signal_module
import subprocess
import sys
import wave

import numpy as np
import pytest
from PIL import Image

import ntkspec as ns
from ntkspec.cli import main
from ntkspec.cli._spectrum import ROWS, learning_lines

SMALL = ["--num-frequencies", "16", "--width", "32"]
# A design finds the width itself.
SEARCHED = SMALL[:2]


@pytest.fixture
def photograph(tmp_path):
    """A small grey picture with an alpha channel."""
    level = np.add.outer(np.arange(20.0), np.arange(16.0)) / 34
    path = tmp_path / "photo.png"
    Image.fromarray((255 * np.stack([level, level], -1)).astype(np.uint8), "LA").save(path)
    return str(path)


@pytest.fixture
def signal(tmp_path):
    """A short 1-D signal."""
    path = tmp_path / "signal.npy"
    np.save(path, np.sin(2 * np.pi * np.arange(48) / 16))
    return str(path)


def test_spectrum_gives_every_scale_with_its_stability_limit(run_json, photograph):
    result = run_json(["spectrum", photograph, "--scales", "1", "3", "--num-modes", "5", *SMALL])
    assert [one["scale"] for one in result["scales"]] == [1.0, 3.0]
    for one in result["scales"]:
        assert len(one["modes"]) == 5
        assert one["max_learning_rate"] * one["modes"][0]["eigenvalue"] == pytest.approx(2)
    assert any("transparency" in notice.lower() for notice in result["notices"])


def test_spectrum_says_in_how_many_steps_a_frequency_is_learned(capsys, run_json, signal):
    arguments = ["spectrum", signal, "--scales", "2", "--num-modes", "9", "--steps-to", "0.1", *SMALL]
    (one,) = run_json(arguments)["scales"]
    learning = one["learning"]
    assert learning["learning_rate"] == pytest.approx(one["max_learning_rate"] / 2)
    rates = learning["learning_rate"] * np.array([mode["eigenvalue"] for mode in one["modes"]])
    np.testing.assert_array_equal(learning["steps"], ns.dynamics.steps_to(0.1, rates))
    # Every frequency that 24 training points can tell, not only those of the leading modes.
    rows = learning["by_frequency"]
    assert sum(row["waves"] for row in rows) == 24
    assert sum(row["modes"] for row in rows) == 9
    assert not all(row["by_eigenvalue"] for row in rows)
    total, mean = learning["by_loss"]
    assert (total["loss"], mean["loss"]) == ("sum", "mean")
    assert mean["max_learning_rate"] == pytest.approx(24 * one["max_learning_rate"])
    assert mean["flow_time_of_a_step"] == pytest.approx(mean["learning_rate"] / 24)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "steps until 0.1 of a frequency is left" in out
    assert f"{rows[0]['slowest']:,.0f}" in out
    assert f"{mean['max_learning_rate']:.4g}" in out
    assert "edge of stability" in out


def test_the_table_of_steps_is_short_and_says_never():
    rows = [
        {
            "frequency": float(i),
            "waves": 2,
            "modes": 2,
            "fastest": 10.0 * i,
            "slowest": 20.0 * i,
            "by_eigenvalue": i < 9,
        }
        for i in range(300)
    ]
    rows[-1]["slowest"] = float("inf")
    numbers = ("max_learning_rate", "learning_rate", "sharpness", "edge_of_stability", "flow_time_of_a_step")
    losses = [{"loss": loss, **dict.fromkeys(numbers, 0.5)} for loss in ("sum", "mean")]
    lines = learning_lines({"by_frequency": rows, "by_loss": losses, "num_points": 600, "epsilon": 0.1})
    table = [line for line in lines if line.endswith(("eigenvalues", "both", "plane waves"))]
    assert 8 <= len(table) <= ROWS
    assert "never" in table[-1]
    assert not any("inf" in line or "nan" in line for line in lines)
    assert table[0].split()[0] == "0"
    assert table[-1].split()[2] == "299"
    assert max(len(line) for line in lines) <= 120


def test_predict_reports_the_asked_steps_and_writes_what_it_says(run_json, signal, tmp_path):
    out = tmp_path / "deep" / "kept"
    arguments = ["predict", signal, "--scales", "2", "--steps", "0", "10", "100", "--out", str(out), *SMALL]
    result = run_json(arguments)
    (one,) = result["scales"]
    assert one["step"] == [0, 10, 100]
    assert one["train_psnr"][2] > one["train_psnr"][1] > one["train_psnr"][0]
    assert sorted(path.name for path in out.iterdir()) == ["prediction.nc", "prediction.png"]
    kept = ns.record.load(out / "prediction.nc")
    np.testing.assert_allclose(kept.train_psnr.sel(scale=2.0), one["train_psnr"])


def test_validate_says_how_far_the_theory_holds(run_json, signal):
    result = run_json(["validate", signal, "--scales", "2", "--steps", "0", "5", "--seeds", "2", *SMALL])
    assert result["step"] == [0, 5]
    assert result["error"][0] == 0
    assert 0 < result["error"][1] < 1
    assert "width 32" in result["verdict"]


def test_design_recommends_and_gives_lines_to_paste(capsys, run_json, refusal, signal, tmp_path):
    arguments = ["design", signal, "--scales", "1", "3", "9", "--out", str(tmp_path / "out"), *SEARCHED]
    result = run_json(arguments)
    assert result["scale"] > 0
    assert result["verdict"].startswith("Take gaussian frequencies")
    assert {one["criterion"] for one in result["criteria"]} >= {"leave_one_out", "evidence"}
    assert set(result["lines"]) == {"ntkspec", "jax", "torch"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["design.nc", "design.png"]
    assert main([*arguments, "--code", "torch"]) == 0
    out = capsys.readouterr().out
    assert "as good from" in out
    assert "torch.optim.SGD" in out
    assert "expected one of gaussian" in refusal(["design", signal, "--families", "wavelets", *SEARCHED])
    assert "--accuracy 0" in refusal(["design", signal, "--accuracy", "0", *SEARCHED])


def test_text_output_is_for_people(capsys, signal):
    assert main(["predict", signal, "--scales", "2", "--steps", "0", "10", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "scale 2, learning rate" in out
    assert "best: scale 2 at step 10" in out
    assert main(["spectrum", signal, "--scales", "2", *SMALL]) == 0
    assert "effective rank" in capsys.readouterr().out
    assert main(["validate", signal, "--scales", "2", "--steps", "3", "--seeds", "1", *SMALL]) == 0
    assert "one network has no error bar" in capsys.readouterr().out


def test_report_on_a_photograph_is_whole_and_self_contained(run_json, photograph, tmp_path):
    out = tmp_path / "report"
    result = run_json(["report", photograph, "--out", str(out), "--scales", "1", "3", "--seeds", "3", *SMALL])
    assert result["best_scale"] in (1.0, 3.0)
    assert set(result["checks"]) == {"paper's 1-D signal", "whole photograph"}
    page = (out / "report.html").read_text()
    assert result["verdict"].split(":")[0] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    groups = ns.record.load_groups(out / "results.nc")
    assert {"spectrum", "prediction", "convergence", "paper_validation", "piece_training"} <= set(groups)
    assert groups["prediction"].sizes["axis0"] == 20
    names = {path.stem for path in (out / "figures").glob("*.svg")}
    assert names == {path.stem for path in (out / "figures").glob("*.png")}
    assert {"spectrum", "kernel", "convergence", "quality", "learned", "error-paper", "error-piece"} <= names


@pytest.mark.slow
def test_report_on_a_recording(capsys, tmp_path):
    path = tmp_path / "tone.wav"
    samples = (8000 * np.sin(2 * np.pi * 3 * np.arange(64) / 64)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    arguments = ["report", str(path), "--out", str(tmp_path / "report"), "--scales", "2", "--seeds", "1", *SMALL]
    assert main(arguments) == 0
    assert "Take scale 2" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["report", "spectrum", "predict", "design", "validate", "encoding"])
def test_help_of_every_command(capsys, command):
    assert main([command, "--help"]) == 0
    assert "--scales" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scales", "0"], "--scales 0.0; expected a positive"),
        (["--scales", "-2"], "--scales -2.0; expected a positive"),
        (["--depth", "0"], "--depth 0; expected a positive integer"),
        (["--learning-rate", "1e9"], "stability limit"),
        (["--learning-rate", "-1"], "--learning-rate -1"),
        (["--num-frequencies", "0"], "--num-frequencies 0"),
        (["--width", "0"], "--width 0"),
        (["--parametrization", "mup"], "mup"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_settings_that_are_no_good_are_refused_before_anything_is_written(
    refusal, photograph, tmp_path, options, message
):
    out = tmp_path / "report"
    assert message in refusal(["report", photograph, "--out", str(out), *options])
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "gone.png", "does not exist"),
        (b"not a picture", "text.png", "image"),
        (np.array([]), "empty.npy", "at least 8"),
        (np.ones(32), "constant.npy", "constant"),
        (np.r_[np.arange(31.0), np.nan], "nan.npy", "NaN or infinity"),
        (np.r_[np.arange(31.0), np.inf], "infinite.npy", "NaN or infinity"),
    ],
)
def test_files_that_hold_no_signal_are_refused(refusal, tmp_path, content, name, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    out = tmp_path / "out"
    assert message in refusal(["predict", str(path), "--out", str(out)])
    assert not out.exists()


def test_report_never_replaces_what_is_not_a_report(refusal, photograph, tmp_path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "thesis.tex").write_text("years of work")
    assert "neither empty nor a report" in refusal(["report", photograph, "--out", str(treasure), *SMALL])
    assert (treasure / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("validate", ["--seeds", "0"], "--seeds 0; expected a positive integer"),
        ("validate", ["--steps", "0", "5", "5"], "expected increasing numbers"),
        ("spectrum", ["--steps-to", "1.5"], "--steps-to 1.5; expected between 0 and 1"),
        ("spectrum", ["--seed", "-1"], "--seed -1; expected a whole number from 0 on"),
        ("spectrum", ["--num-modes", "0"], "--num-modes 0; expected a positive integer"),
        ("report", ["--seeds", "-1"], "--seeds -1; expected a positive integer"),
    ],
)
def test_arguments_are_checked_before_the_signal_is_even_read(refusal, command, options, message):
    assert message in refusal([command, "no such file.png", *options])


@pytest.mark.parametrize("command", ["report", "spectrum", "predict", "design", "validate"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(refusal, tmp_path, command):
    (tmp_path / "file").write_text("")
    message = refusal([command, "no such file.png", "--out", str(tmp_path / "file" / "below")])
    assert "is a file" in message


def test_the_signal_after_an_option_of_several_values_gets_a_hint(refusal):
    assert "SIGNAL comes before options" in refusal(["predict", "--scales", "1", "4", "signal.npy"])


#: In place of ``python -m ntkspec``: the command, which says on standard error that its work has begun.
TELLING = """
import runpy, signal, sys
from ntkspec.progress import NO_PROGRESS, TerminalProgress

def start(self, *_, **__):
    print("begun", file=sys.stderr, flush=True)
    return NO_PROGRESS

TerminalProgress.start = start
# A shell starts what it puts in the background with SIGINT ignored, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("ntkspec", run_name="__main__", alter_sys=True)
"""


def test_interrupting_a_report_leaves_nothing_behind(tmp_path):
    arguments = [sys.executable, "-c", TELLING, "report", "--out", str(tmp_path / "report"), "--size", "32"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "begun\n"
    process.send_signal(signal_module.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, error.count("stopped")) == ("", 1)
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_outgrows_memory_is_refused_in_one_line(refusal, monkeypatch):
    def outgrown(_):
        raise RuntimeError("INTERNAL: Out of memory allocating 780000058632 bytes.")

    monkeypatch.setattr("ntkspec.cli.Predict.run", outgrown)
    assert "needs more memory than there is" in refusal(["predict"])


def test_no_command_is_refused_in_one_line(refusal):
    assert "spectrum" in refusal([])


def test_validate_names_causes_and_keeps_standard_output_clean(run_json, signal, tmp_path):
    options = ["--scales", "2", "--steps", "0", "3", "--seeds", "3", "--optimizer", "adam", "--explain", *SMALL]
    result = run_json(["validate", signal, "--out", str(tmp_path / "out"), *options])
    assert set(result["causes"]) <= {"optimizer", "fluctuation", "moving_kernel"}
    assert result["causes"]["optimizer"]["step"] == [3]
    assert "adam has no theory here" in result["verdict"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "causes.nc", "causes.png", "validation.nc", "validation.png",
    }  # fmt: skip


MAPPINGS = {
    "omega_0 20": ["siren", "--omega-0", "20", "--range", "0", "1"],
    "levels 3": ["nerf", "--levels", "3", "--radians"],
    "mapping basic": ["basic"],
    "mapping none": ["none", "--b-std", "0.1"],
    "mapping own.json": ["own.json"],
}


@pytest.mark.parametrize("label", MAPPINGS)
def test_a_mapping_is_the_one_of_its_convention(run_json, signal, tmp_path, monkeypatch, label):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.json").write_text('{"frequencies": [[1], [2.5]], "amplitudes": [1, 0.5]}')
    options = ["--depth", "1", "--steps", "0", "100", "--width", "8", "--num-frequencies", "16"]
    taken = options if label == "omega_0 20" else options[:-2]
    result = run_json(["predict", signal, "--mapping", *MAPPINGS[label], *taken])
    assert (result["best_label"], [one["label"] for one in result["scales"]]) == (label, [label])
    mapped = {
        "omega_0 20": ns.mapping.siren_first_layer(1, 16, 20.0, low=0, high=1),
        "levels 3": ns.mapping.nerf(1, 3, include_pi=False, normalize=False),
        "mapping basic": ns.mapping.basic(1, normalize=False),
        "mapping none": ns.mapping.identity(1),
        "mapping own.json": ns.mapping.from_frequencies([[1.0], [2.5]], [1.0, 0.5], normalize=False),
    }[label]
    bias, W_std = 0.1 if label == "mapping none" else 0.0, 2**0.5 / 30 if label == "omega_0 20" else 2**0.5
    activation = "siren" if label == "omega_0 20" else "relu"
    k = ns.kernel.compose(mapped, ns.kernel.MLP(depth=1, activation=activation, W_std=W_std, b_std=bias))
    task = ns.task.load(signal)
    (one,) = result["scales"]
    p = ns.predict(
        ns.operator.dense(k, task.train_points), task.train_values, steps=[0, 100],
        learning_rate=one["learning_rate"], unseen=task.test_points,
    )  # fmt: skip
    np.testing.assert_allclose(
        one["test_psnr"], -10 * np.log10(((p.unseen - task.test_values) ** 2).mean("asked")), rtol=1e-6
    )


def test_a_kernel_that_is_diagonal_says_what_to_change(run_json, signal):
    for options, is_said in ((["--W-std", "1.4"], True), ([], False)):
        result = run_json(
            ["predict", signal, "--activation", "siren", "--scales", "2", "--steps", "9", *options, *SMALL]
        )
        assert any("diagonal to rounding" in notice and "W_std" in notice for notice in result["notices"]) == is_said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--levels", "3"], "--levels is not an option of gaussian, which takes --scales, --num-frequencies"),
        (["--mapping", "nerf", "--scales", "3"], "--scales is not an option of nerf, which takes --levels, --range"),
        (["--mapping", "nerf", "--pi", "--two-pi"], "exclude each other"),
        (["--mapping", "wavelets"], "'wavelets' is not a family of mappings; expected one of gaussian"),
        (["--mapping", "gone.json"], "gone.json cannot be read"),
        (["--mapping", "siren", "--omega-0", "-1"], "--omega-0 -1.0; expected a positive number"),
    ],
)
def test_a_mapping_refuses_what_it_does_not_take(refusal, signal, options, message):
    assert message in refusal(["predict", signal, *options])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nerf", "--levels", "10"], 2.0 ** np.arange(10)),
        (["nerf", "--levels", "10", "--two-pi"], 2.0 ** np.arange(1, 11)),
        (["nerf", "--levels", "4", "--radians"], 2.0 ** np.arange(4) / np.pi),
        (["tiny-cuda-nn", "--levels", "4"], 2.0 ** np.arange(-1, 3)),
        (["tancik", "--scales", "26", "--radians"], 26 / (2 * np.pi) * np.random.default_rng(0).standard_normal(256)),
        (["tancik", "--scales", "10", "--range", "-1", "1"], 20 * np.random.default_rng(0).standard_normal(256)),
        (["siren", "--num-frequencies", "8"], 30 / np.pi * np.random.default_rng(0).uniform(-1, 1, 8)),
        (["bacon", "--max-frequency", "64"], np.random.default_rng(0).integers(-8, 9, 256)),
    ],
)
def test_an_encoding_lists_its_frequencies_and_pastes(capsys, run_json, tmp_path, arguments, expected):
    arguments = ["encoding", *arguments, "--samples", "800", "--out", str(tmp_path / "own.json")]
    result = run_json(arguments)
    np.testing.assert_allclose(np.ravel(result["frequencies"]), expected, rtol=1e-12)
    np.testing.assert_array_equal(result["aliased"], np.abs(expected) > 400)
    scope = {}
    assert main(arguments) == 0
    exec("\n".join(capsys.readouterr().out.splitlines()[-3:-1]), scope)
    again = ns.selection.family(str(tmp_path / "own.json")).build(1, 1, 1.0, 0)
    for mapped in (scope["g"], again):
        np.testing.assert_array_equal(mapped.frequencies, result["frequencies"])
        np.testing.assert_array_equal(mapped.amplitudes, result["amplitudes"])


@pytest.mark.slow
def test_validate_finds_a_width(run_json, signal):
    options = ["--num-frequencies", "16", "--width", "auto", "--depth", "1", "--tolerance", "0.2"]
    result = run_json(["validate", signal, "--scales", "2", "--steps", "0", "3", "--seeds", "3", *options])
    law = result["width_law"]
    assert law["width"] == [32, 64, 128, 256]
    assert law["interval"][0] < law["needed_width"] < law["interval"][1]
    assert 0 <= result["width"] - law["needed_width"] <= 16
    assert f"width {result['width']}" in result["verdict"]
    # The run at that width is the law's check.
    assert f"Checked: at width {result['width']} the error is" in law["verdict"]
    assert "within its errors" in law["verdict"] or "off by more than its errors" in law["verdict"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "sophia2"], "--optimizer sophia2; expected one of"),
        (["--output", "tanh"], "tanh"),
        (["--width", "broad"], "broad"),
        (["--width", "auto", "--output", "sigmoid"], "--width auto asks theory"),
        (["--width", "auto", "--optimizer", "adam"], "--width auto asks theory"),
    ],
)
def test_validate_refuses_what_it_cannot_train(refusal, signal, options, message):
    assert message in refusal(["validate", signal, *options])


def test_a_sigmoid_output_is_validated_from_where_it_starts(run_json, photograph):
    options = ["--scales", "2", "--steps", "0", "3", "--seeds", "2", "--size", "16", "--output", "sigmoid", *SMALL]
    result = run_json(["validate", photograph, *options])
    assert result["error"][0] == 0
    assert "the output is a sigmoid" in result["verdict"]

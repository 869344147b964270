"""A report on any signal: its check is on a piece at the signal's own resolution, and what was cut is on the page."""

import json
import wave

import numpy as np
import pytest
from PIL import Image

import ntkspec as ns
from ntkspec import study
from ntkspec.cli import main
from ntkspec.config import NetworkConfig, StudyConfig
from ntkspec.study import _whole

SMALL = ["--num-frequencies", "8", "--width", "16", "--depth", "1", "--seeds", "1"]
CONFIG = StudyConfig(NetworkConfig(width=16, depth=1), num_frequencies=8)


def write_wav(path, values, rate):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((30000 * values / np.abs(values).max()).astype("<i2").tobytes())


def voice(path):
    """Two seconds of 120 Hz and its harmonics at 8 kHz, in syllables."""
    t = np.arange(16000) / 8000
    harmonics = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20))
    write_wav(path, np.clip(np.sin(3 * np.pi * t), 0, 1) * harmonics, 8000)


def tone(path):
    """A second of 5 kHz at 44.1 kHz, of which 2,048 samples would resolve nothing."""
    write_wav(path, np.cos(2 * np.pi * 5000 * np.arange(44100) / 44100 + 0.3), 44100)


def panorama(path):
    y, x = np.mgrid[:24, :120]
    Image.fromarray((127 + 100 * np.sin(x / 2) * np.cos(y)).astype(np.uint8)).save(path, format="png")


def column(path):
    path.write_text("v\n" + "\n".join(str(np.sin(i / 3) + i % 7 / 70) for i in range(1000)))


def points(path):
    rng = np.random.default_rng(0)
    x = rng.random((500, 2)) * [10, 200]
    np.savetxt(path, np.c_[x, np.sin(x[:, 0])], delimiter=",", header="x,y,u", comments="")


FILES = {
    "voice.wav": (voice, "piece of the signal", (128,)),
    "tone.wav": (tone, "piece of the signal", (128,)),
    "panorama.png": (panorama, "piece of the photograph", (24, 42)),
    "column.csv": (column, "piece of the signal", (128,)),
    "points.csv": (points, "piece of the points", None),
}


@pytest.mark.parametrize("name", FILES)
def test_a_piece_is_at_the_resolution_of_the_whole(tmp_path, name):
    write, words, shape = FILES[name]
    write(tmp_path / name)
    whole = ns.task.load(tmp_path / name)
    part, said = _whole._piece(whole)
    assert (said, part.task.shape) == (words, shape)
    assert "most detail" in part.notice
    assert len(np.unique(part.task.train_values)) > 8
    if shape is not None:
        spacing = part.lengths / np.array(shape)
        np.testing.assert_allclose(spacing, 1 / np.array(whole.shape))


def test_a_piece_is_behind_the_mapping_of_the_whole():
    t = np.arange(512)
    values = np.sin(2 * np.pi * t * 40 / 512) * np.exp(-(((t - 300) / 60) ** 2))
    even = t % 2 == 0
    one = study.problems(ns.task.Task("burst", values, even, ~even), StudyConfig(CONFIG.network, (20.0,), 8))[20.0]
    part, _ = _whole._piece(one.task)
    found = _whole._carried_over(one, part, CONFIG)
    np.testing.assert_allclose(found.kernel.mapping.frequencies, one.kernel.mapping.frequencies / 4, rtol=1e-15)
    # The kernel between two of its points is that between the same points of the whole.
    start = int(part.notice.split()[1])
    x = np.array([[start / 512], [(start + 40) / 512]])
    np.testing.assert_allclose(found.kernel.ntk((x - start / 512) * 4), one.kernel.ntk(x), rtol=1e-12)
    assert _whole._cut(part, 20.0, one)[1] == "Scale 20 cycles per unit of the whole is 5 per unit of that piece."


@pytest.mark.parametrize(
    "name", ["voice.wav", *(pytest.param(name, marks=pytest.mark.slow) for name in FILES if name != "voice.wav")]
)
def test_a_report_checks_a_piece_and_says_so(capsys, tmp_path, name):
    write, check, _ = FILES[name]
    write(tmp_path / name)
    out = tmp_path / "report"
    assert main(["report", str(tmp_path / name), "--out", str(out), "--scales", "3", *SMALL, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["checks"]) == {"paper's 1-D signal", check}
    assert result["unchecked"] == ""
    notices = result["checks"][check]["notices"]
    assert "most detail" in notices[0]
    page = (out / "report.html").read_text()
    assert all(notice in page for notice in notices)
    assert {"prediction", "piece_prediction", "piece_training"} <= set(ns.record.load_groups(out / "results.nc"))


def test_without_an_honest_check_the_report_says_why(tmp_path):
    # Training points that are all alike teach nothing where the detail is.
    values = np.zeros(600)
    values[:60:2] = 0.01
    values[301:420:2] = np.random.default_rng(0).normal(size=60)
    even = np.arange(600) % 2 == 0
    found = study.run(ns.task.Task("hidden", values, even, ~even), StudyConfig(CONFIG.network, (3.0,), 8), seeds=1)
    assert [one.key for one in found.checks] == ["paper"]
    assert found.unchecked == "the training points of the part that could be trained are all 0"
    assert found.verdict.endswith(f"On the signal itself it was not checked: {found.unchecked}.")
    assert not found.trusted
    page = ns.report.write(found, tmp_path / "report").read_text()
    assert f"Not checked on the signal itself: {found.unchecked}" in page

"""``ntkspec validate``: what each option of training changes, what is refused before any work, and stopping it."""

import json
import os
import signal as signal_module
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import ntkspec as ns
from ntkspec.cli import _validate as command
from ntkspec.cli import main
from ntkspec.dynamics._function_space import STAGES
from ntkspec.study import _validated

SMALL = ["--num-frequencies", "16", "--width", "32", "--depth", "1", "--scales", "2", "--seeds", "2"]
STEPS = ["--steps", "0", "5", "20"]


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    """A short 1-D signal in [0, 1], of 48 samples with 24 to train on."""
    path = tmp_path_factory.mktemp("signal") / "signal.npy"
    np.save(path, 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(48) / 16))
    return str(path)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A grey ramp of 10 x 8 pixels, in [0, 1] as a sigmoid needs it: sounds are centred."""
    path = tmp_path_factory.mktemp("photograph") / "ramp.png"
    Image.fromarray((255 * np.add.outer(np.arange(10.0), np.arange(8.0)) / 16).astype(np.uint8), "L").save(path)
    return str(path)


@pytest.fixture
def run(capsys, signal):
    """Run the command with options, to its JSON."""

    def ran(*options, of=signal):
        assert main(["validate", of, *SMALL, *STEPS, *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ran


@pytest.fixture
def refused(capsys, signal):
    """Run the command with options that are no good, to its one line; nothing may be predicted or trained."""

    def ran(*options):
        assert main(["validate", signal, *SMALL, *STEPS, *options]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    return ran


def test_the_mean_loss_takes_a_rate_as_many_times_larger_as_there_are_points(run):
    plain, mean = run(), run("--loss", "mean")
    assert mean["learning_rate"] == pytest.approx(24 * plain["learning_rate"])
    # The same steps but for roundings of float32.
    np.testing.assert_allclose(mean["error"], plain["error"], atol=1e-5)
    assert mean["remarks"] == []


def test_precisions_change_the_digits_that_they_have(run):
    plain, double, coarse = run(), run("--dtype", "float64"), run("--matmul-precision", "bfloat16")
    off = np.abs(np.array(double["error"]) - plain["error"])
    assert 0 < off.max() < 1e-5
    assert 1e-5 < np.abs(np.array(coarse["error"]) - plain["error"]).max() < 1e-1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trainable", "amplitudes", "frequencies"], "the mapping's amplitudes and frequencies were learned"),
        (["--batch-size", "6"], "each step was on 6 points"),
        (["--init", "glorot", "--parametrization", "standard"], "weights started as glorot draws them"),
        (
            ["--init", "siren", "--parametrization", "standard", "--activation", "siren"],
            "weights started as siren draws them",
        ),
    ],
    ids=["trainable", "batches", "glorot", "siren"],
)
def test_what_theory_does_not_know_is_compared_and_said(run, options, said):
    result = run(*options)
    base = run(*options[2:]) if options[0] == "--init" else run()
    assert said in result["verdict"]
    assert result["error"][0] == 0
    assert not np.allclose(result["error"][1:], base["error"][1:], rtol=1e-3)


def test_a_schedule_is_in_training_and_prediction(run):
    plain, cosine = run(), run("--schedule", "cosine")
    assert cosine["remarks"] == []
    assert not np.allclose(plain["error"][1:], cosine["error"][1:], rtol=1e-3)
    # Were it in one of them only, half of the way would be missing.
    assert max(cosine["error"]) < 2 * max(plain["error"])
    assert set(run("--schedule", "cosine", "--explain")["causes"]) == {"fluctuation", "moving_kernel"}


def test_the_logistic_loss_of_a_sigmoid_has_a_theory(run, photograph):
    options = ("--output", "sigmoid", "--width", "512")
    logistic, squares = run("--loss", "logistic", *options, of=photograph), run(*options, of=photograph)
    assert logistic["error"][0] == squares["error"][0] == 0
    assert "training takes steps, and the prediction is a continuous flow" in logistic["verdict"]
    assert "the output is a sigmoid, and" not in logistic["verdict"]
    # With squares the prediction is of a linear output, and misses by more.
    assert "the output is a sigmoid, and the prediction is of a linear one" in squares["verdict"]
    assert 3 * max(logistic["error"]) < max(squares["error"])


def test_a_sigmoid_learns_a_one_dimensional_signal_in_its_own_range(run):
    result = run("--output", "sigmoid", "--loss", "logistic", "--width", "128")
    assert result["notices"][-1] == "Values raised by 0.5 to [0, 1], where a sigmoid's are."
    assert 0 == result["error"][0] < result["error"][-1] < 0.5


def test_an_optimizer_without_a_theory_takes_its_own_rate_or_the_one_that_is_given(run):
    usual, given = run("--optimizer", "adam"), run("--optimizer", "adam", "--learning-rate", "0.02")
    assert (usual["learning_rate"], given["learning_rate"]) == (1e-3, 0.02)
    assert usual["error"] != given["error"]
    assert "adam has no theory here, and is compared with gradient descent" in usual["verdict"]


def test_momentum_is_predicted_as_it_is_trained(run):
    gentle, usual = run("--optimizer", "heavy_ball(momentum=0.5)"), run("--optimizer", "heavy_ball")
    assert gentle["remarks"] == []
    assert gentle["error"][1:] != usual["error"][1:]
    # A prediction of another momentum would be off by half of the signal.
    assert gentle["error"][1] < 0.3
    assert "lbfgs has no theory here" in run("--optimizer", "lbfgs")["verdict"]


@pytest.fixture
def rate(run):
    """Gradient descent's stability limit, η λ_max = 2."""
    return 2 * run()["learning_rate"]


def test_a_rate_is_held_to_the_limit_of_its_optimizer(run, refused, rate):
    # ηλ_max up to 3.8 under the heavy ball, up to 1.36 under Nesterov's momentum.
    found = run("--optimizer", "heavy_ball", "--learning-rate", str(1.3 * rate), "--width", "128")
    assert found["learning_rate"] == 1.3 * rate
    assert np.isfinite(found["error"]).all()
    # Of the logistic loss theory is a flow, which has no such limit.
    assert run(
        "--optimizer", "nesterov", "--loss", "logistic", "--output", "sigmoid", "--learning-rate", str(0.9 * rate)
    )
    assert f"under HeavyBall, {1.9 * rate:.6g}; take less" in refused(
        "--optimizer", "heavy_ball", "--learning-rate", str(2 * rate)
    )


APART = ("--no-centered", "--seeds", "4", "--width", "128")


def test_networks_that_start_from_functions_of_their_own_are_compared_as_an_ensemble(run, tmp_path):
    centred, apart = run(*APART[1:]), run(*APART, "--out", str(tmp_path))
    assert centred["error"][0] == 0 < apart["error"][0]
    assert "spread_ratio" not in centred
    ratio, low, high = (np.array(apart[name]) for name in ("spread_ratio", "spread_ratio_low", "spread_ratio_high"))
    assert (low < ratio).all()
    assert (ratio < high).all()
    np.testing.assert_allclose(ratio, np.divide(apart["spread"], apart["predicted_spread"]), rtol=1e-6)
    assert "the error of their mean" in apart["verdict"]
    assert "predicted covariance" in apart["verdict"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["validation.nc", "validation.png"]
    np.testing.assert_array_equal(ns.record.load(tmp_path / "validation.nc").spread_ratio, ratio)


def test_the_table_of_an_ensemble_shows_its_spread(capsys, signal):
    table = []
    for options in (APART[1:], APART):
        assert main(["validate", signal, *SMALL, "--steps", "0", "5", "20000", *options]) == 0
        table.append([line for line in capsys.readouterr().out.splitlines() if line.lstrip()[:1].isdigit()])
    head, *_, last = table[1]
    assert [len(rows[0].split()) for rows in table] == [6, 11]
    # Of the start the ratio is known, of the end the networks have no digits.
    assert head.count("%") == 8
    assert last.count("not known") == 3


def test_controls_hold_each_network_against_the_theory_from_its_own_start(run):
    result = run(*APART, "--explain")
    assert {"fluctuation", "moving_kernel"} <= set(result["causes"])
    assert "each network is compared with the theory from its own start" in result["verdict"]
    assert "spread_ratio" in result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-centered"], "--seeds 2 with --no-centered; expected at least 3"),
        ([*APART, "--output", "sigmoid"], "theory, which is of a linear output, and --output sigmoid"),
        ([*APART, "--explain", "--steps", "5", "20"], "--steps 5 20 leaves out 0, from where controls (explain)"),
        ([*APART, "--width", "auto"], "--no-centered is not that; give a number"),
        (["--output", "sigmoid", "--steps", "5", "20"], "where a sigmoid is compared with the function it starts from"),
        (["--steps", "0"], "has none after the start"),
        (["--batch-size", "25"], "--batch-size 25; expected at most the number of points, 24"),
        (["--batch-size", "0"], "--batch-size 0; expected a positive integer"),
        (["--seeds", "0"], "--seeds 0; expected a positive integer"),
        (["--init", "siren"], "--init siren draws the weights of layers y = w x + b"),
        (["--init", "siren", "--parametrization", "standard"], "--init siren belongs to sines"),
        (["--init", "he"], "he"),
        (["--loss", "hinge"], "hinge"),
        (["--loss", "logistic"], "take --output sigmoid with it"),
        (["--loss", "logistic", "--output", "sigmoid", "--explain"], "prediction of squares, and the loss is logistic"),
        (["--loss", "logistic", "--output", "sigmoid", "--schedule", "cosine"], "a schedule is known to a prediction"),
        (["--dtype", "float16"], "float16"),
        (["--dtype", "float64", "--matmul-precision", "bfloat16"], "bfloat16 is for --dtype float32;"),
        (["--trainable", "phases"], "phases"),
        (["--schedule", "cosine", "--steps", "0"], "has none after the start"),
        (["--learning-rate", "0"], "--learning-rate 0.0; expected a positive number"),
        (["--learning-rate", "-1", "--optimizer", "adam"], "--learning-rate -1.0; expected a positive number"),
        (["--learning-rate", "1e9"], "past the stability limit"),
        (["--learning-rate", "1e9", "--optimizer", "nesterov"], "past the stability limit of this kernel under Nest"),
        (["--schedule", "cosine", "--steps", "0", "10000000000000"], "available; ask for fewer steps"),
        (["--optimizer", "adam(**{})"], "cannot be read; expected a name, or one with settings"),
        (["--tolerance", "0"], "--tolerance 0.0; expected a positive number"),
        (["--steps", "0", "2", "1"], "expected increasing numbers"),
        (["--width", "auto", "--batch-size", "4"], "--batch-size 4 is not that; give a number"),
        (["--optimizer", 'heavy_ball(momentum="a")'], "momentum='a'; expected a number in [0, 1)"),
        (["--optimizer", 'adam(b1="a")'], "optimizer adam(b1='a') cannot take a step"),
        (["--resume"], "resume needs the directory of the checkpoints: --checkpoint DIR"),
        (["--checkpoint-every", "9"], "--checkpoint-every needs the directory"),
        (["--checkpoint", "run", "--checkpoint-every", "0"], "--checkpoint-every 0; expected a positive integer"),
        (
            ["--checkpoint", "run", "--checkpoint-minutes", "-1"],
            "--checkpoint-minutes -1.0; expected a positive",
        ),
        (["--checkpoint", "/proc/run"], "/proc/run cannot be written"),
    ],
    ids=" ".join,
)
def test_what_is_no_good_is_refused_before_any_work(refused, monkeypatch, options, message):
    def never(*_, **__):
        raise AssertionError("work was begun")

    monkeypatch.setattr(_validated, "predictions", never)
    monkeypatch.chdir("/")
    assert message in refused(*options)


def test_a_flow_that_is_too_stiff_is_one_line_of_what_to_change(refused, monkeypatch):
    # As if each step of the solver took all products that there are.
    monkeypatch.setitem(STAGES, 8, 20_000)
    told = refused("--output", "sigmoid", "--loss", "logistic")
    assert "is too stiff to be followed to step 20; take an earlier last step (steps), or a smaller learning" in told
    assert "max_products" not in told


class Press:
    """Progress that presses Ctrl-C once, so many steps into the given training of several."""

    def __init__(self, training, step):
        self.left, self.step, self.done, self.counts = training, step, 0, False

    def start(self, description, *_, **__):
        self.counts = description == "training"
        self.left -= self.counts
        self.done = 0
        return self

    def advance(self, n=1, **_):
        if self.counts:
            before, self.done = self.done, self.done + n
            if self.left == 0 and before < self.step <= self.done:
                os.kill(os.getpid(), signal_module.SIGINT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize(
    ("options", "training"),
    [([], 1), (["--explain"], 3), (["--width", "auto", "--tolerance", "0.5"], 2)],
    ids=["the run itself", "a control", "a width"],
)
def test_a_stopped_validation_goes_on_to_the_same_bits(run, refused, signal, monkeypatch, tmp_path, options, training):
    whole = run(*options)
    options = [*options, "--checkpoint", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(command, "TerminalProgress", lambda: Press(training, 7))
        with pytest.raises(KeyboardInterrupt, match=r"saved at step \d+ in .*run"):
            main(["validate", signal, *SMALL, *STEPS, *options])
    assert "holds a checkpoint" in refused(*options)
    assert run(*options, "--resume") == whole
    # All is there: to ask once more trains nothing.
    with monkeypatch.context() as patch:
        patch.setattr(command, "TerminalProgress", lambda: Press(training, 10**9))
        assert run(*options, "--resume") == whole
    assert "seeds was 2 and now is 3" in refused(*options, "--resume", "--seeds", "3")


def test_a_cut_checkpoint_is_refused_and_the_one_before_it_taken_if_asked(run, refused, tmp_path):
    options = ["--checkpoint", str(tmp_path), "--checkpoint-every", "8"]
    whole = run(*options)
    newest = max((tmp_path / "networks").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-10])
    told = refused(*options, "--resume")
    assert "is cut short" in told
    assert "; --resume-previous takes the one before it" in told
    assert run(*options, "--resume-previous") == whole


#: In place of ``python -m ntkspec``: the command, which says on standard error that a checkpoint is written.
TELLING = """
import runpy, signal, sys
from ntkspec.trainer import _loop

def write(folder, saved, inner=_loop.write):
    path = inner(folder, saved)
    print("written", file=sys.stderr, flush=True)
    return path

_loop.write = write
# A shell starts what it puts in the background with SIGINT ignored, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("ntkspec", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_in_a_shell_says_where_to_go_on(signal, tmp_path):
    options = ["--checkpoint", str(tmp_path), "--checkpoint-every", "50", "--steps", "0", "10000000"]
    arguments = [sys.executable, "-c", TELLING, "validate", signal, *SMALL, *options]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.stderr.readline() != "written\n":
        assert process.poll() is None
    process.send_signal(signal_module.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "stopped; no output was replaced; training was saved at step" in error
    assert "--resume goes on from there" in error
    assert "Traceback" not in error

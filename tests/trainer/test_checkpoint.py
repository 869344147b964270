"""Runs that are stopped and go on: to the same bits, or with a line that says why not."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import limits
from ntkspec.trainer._keep import Saved, files, restored

X = np.arange(8)[:, None] / 8
Y = np.sin(2 * np.pi * X[:, 0])
OPTIONS = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 4, "seeds": 2, "field_shape": (16,)}
STEPS = [0, 3, 10, 20]


@pytest.fixture(scope="module")
def k():
    return ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))


def observe(step, params):
    return xr.Dataset({"norm": ("seed", [float(np.sum(np.asarray(w) ** 2)) for w in params[0]["w"]])})


@pytest.fixture(scope="module")
def whole(k):
    return ns.trainer.train(k, X, Y, steps=STEPS, observe=observe, **OPTIONS)


class Stopped(Exception):
    pass


class StopAt:
    """Progress that ends the run, as a person would, after so many steps."""

    def __init__(self, step):
        self.step, self.done = step, 0

    def start(self, *_, **__):
        return self

    def advance(self, n=1, **_):
        self.done += n
        if self.done >= self.step:
            raise Stopped

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def interrupted(k, folder, step, every=4, **changes):
    keep = ns.trainer.Keep(folder, every=every)
    with pytest.raises(Stopped):
        ns.trainer.train(k, X, Y, checkpoint=keep, progress=StopAt(step), **{"steps": STEPS, **OPTIONS, **changes})


@pytest.mark.parametrize("step", [5, 13, 20])
def test_a_resumed_run_ends_in_the_same_bits(step, k, whole, tmp_path):
    interrupted(k, tmp_path, step, observe=observe)
    found = files(tmp_path)
    assert found[0].name == f"checkpoint-0000-{(step - 1) // 4 * 4:010d}.safetensors"
    r = ns.trainer.train(k, X, Y, steps=STEPS, observe=observe, checkpoint=tmp_path, resume=True, **OPTIONS)
    xr.testing.assert_identical(r, whole)
    # Finished: nothing is left to do, and the last checkpoint has it all.
    again = ns.trainer.train(
        k, X, Y, steps=STEPS, observe=observe, checkpoint=tmp_path, resume=True, progress=StopAt(21), **OPTIONS
    )
    xr.testing.assert_identical(again, whole)


class PressAt(StopAt):
    """Progress that presses Ctrl-C at a step, and says how far the run then came."""

    def advance(self, n=1, **_):
        before, self.done = self.done, self.done + n
        if before < self.step <= self.done:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("step", [2, 12, 20])
def test_ctrl_c_saves_before_it_stops(step, k, whole, tmp_path):
    press = PressAt(step)
    options = {**OPTIONS, "steps": STEPS, "observe": observe, "checkpoint": tmp_path}
    with pytest.raises(KeyboardInterrupt, match=r"saved at step \d+ in"):
        ns.trainer.train(k, X, Y, progress=press, **options)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # No interval has passed, and yet no step is lost.
    assert files(tmp_path)[0].name == f"checkpoint-0000-{press.done:010d}.safetensors"
    xr.testing.assert_identical(ns.trainer.train(k, X, Y, resume=True, **options), whole)


def test_ctrl_c_without_checkpoints_stops_at_once(k):
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        ns.trainer.train(k, X, Y, steps=STEPS, progress=PressAt(2), **OPTIONS)


def test_a_second_ctrl_c_does_not_wait(k, tmp_path):
    class Impatient(PressAt):
        def advance(self, n=1, **_):
            super().advance(n)
            os.kill(os.getpid(), signal.SIGINT) if self.done >= self.step else None

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        ns.trainer.train(k, X, Y, steps=STEPS, progress=Impatient(2), checkpoint=tmp_path, **OPTIONS)
    assert not files(tmp_path)


@pytest.mark.parametrize("optimizer", ["nesterov", "noisy_sgd"])
def test_every_kind_of_memory_is_kept(optimizer, k, tmp_path):
    options = {**OPTIONS, "optimizer": optimizer, "batch_size": None, "learning_rate": 1e-3}
    interrupted(k, tmp_path, 13, **options)
    r = ns.trainer.train(k, X, Y, steps=STEPS, checkpoint=tmp_path, resume=True, **options)
    xr.testing.assert_identical(r, ns.trainer.train(k, X, Y, steps=STEPS, **options))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("step", [2, 13, 33])
def test_the_observer_of_moving_kernels_goes_on_from_the_start_of_the_networks(step, parts, k, tmp_path):
    def movement():
        return ns.empirical.movement(k, X, Y, max_points=8, num_eigenvalues=2)

    with limits.limited(networks=2 // parts):
        whole = ns.trainer.train(k, X, Y, steps=STEPS, observe=movement(), **OPTIONS)
        if step > 20 * parts:
            ns.trainer.train(k, X, Y, steps=STEPS, observe=movement(), checkpoint=tmp_path, **OPTIONS)
        else:
            interrupted(k, tmp_path, step, every=1, observe=movement())
        r = ns.trainer.train(k, X, Y, steps=STEPS, observe=movement(), checkpoint=tmp_path, resume=True, **OPTIONS)
    xr.testing.assert_identical(r, whole)
    assert float(r.kernel_drift.sel(step=0).max()) == 0
    assert (r.kernel_drift.sel(step=STEPS[1:]) > 0).all()


@pytest.mark.parametrize("before", [observe, None])
def test_an_observer_that_comes_or_goes_is_refused(before, k, tmp_path):
    interrupted(k, tmp_path, 13, observe=before)
    after, message = (None, "go on without one; give the same") if before else (observe, "with one; leave out observe=")
    with pytest.raises(ValueError, match=message):
        ns.trainer.train(k, X, Y, steps=STEPS, observe=after, checkpoint=tmp_path, resume=True, **OPTIONS)


def test_resuming_nothing_begins(k, whole, tmp_path):
    r = ns.trainer.train(k, X, Y, steps=STEPS, checkpoint=tmp_path / "new", resume=True, observe=observe, **OPTIONS)
    xr.testing.assert_identical(r, whole)


def test_a_run_can_be_made_longer(k, whole, tmp_path):
    ns.trainer.train(k, X, Y, steps=STEPS[:3], checkpoint=tmp_path, **OPTIONS)
    r = ns.trainer.train(k, X, Y, steps=STEPS, checkpoint=tmp_path, resume=True, **OPTIONS)
    xr.testing.assert_identical(r, whole.drop_vars("norm"))


def test_two_are_kept_and_half_written_ones_go(k, tmp_path):
    (tmp_path / ".checkpoint-0000-0000000099.12345678.safetensors").write_bytes(b"half")
    ns.trainer.train(k, X, Y, steps=STEPS, checkpoint=ns.trainer.Keep(tmp_path, every=4), **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-0000-0000000016.safetensors",
        "checkpoint-0000-0000000020.safetensors",
    ]


def test_it_may_be_read_by_whom_other_files_may(k, tmp_path):
    for number, (mask, mode) in enumerate([(0o022, 0o644), (0o077, 0o600)]):
        before = os.umask(mask)
        try:
            ns.trainer.train(k, X, Y, steps=[2], seeds=1, checkpoint=tmp_path / str(number))
        finally:
            os.umask(before)
        assert files(tmp_path / str(number))[0].stat().st_mode & 0o777 == mode


def test_minutes_pass(k, tmp_path):
    ns.trainer.train(k, X, Y, steps=STEPS, checkpoint=ns.trainer.Keep(tmp_path, minutes=1e-9), **OPTIONS)
    # After each stretch of steps, whose length follows the clock.
    last, before = (int(path.stem.split("-")[-1]) for path in files(tmp_path))
    assert 10 <= before < last == 20


def test_a_cut_one_is_refused_and_the_one_before_it_taken_if_asked(k, whole, tmp_path):
    interrupted(k, tmp_path, 13, observe=observe)
    newest, before = files(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-100])
    options = {**OPTIONS, "steps": STEPS, "observe": observe, "checkpoint": tmp_path}
    message = rf"{newest.name} is cut short .* resume='previous' takes the one before it, {before.name}"
    with pytest.raises(ValueError, match=message):
        ns.trainer.train(k, X, Y, resume=True, **options)
    xr.testing.assert_identical(ns.trainer.train(k, X, Y, resume="previous", **options), whole)


def test_foreign_ones_are_refused_by_what_differs(k, tmp_path):
    interrupted(k, tmp_path, 13)
    options = {**OPTIONS, "steps": STEPS, "checkpoint": tmp_path, "resume": True}
    wider = ns.kernel.compose(k.mapping, ns.kernel.MLP(depth=1, width=17, b_std=0.1))
    for changes, message in (
        ({"k": wider}, r"belongs to another run: kernels\[0\]\.network\.width was 16 and now is 17"),
        ({"seed": 1}, "seed was 0 and now is 1"),
        ({"learning_rate": 0.02}, r"rates\[0\] was 0\.01 and now is 0\.02"),
        ({"optimizer": "adamw"}, 'training.optimizer.name was "adam" and now is "adamw"'),
        ({"y": 2 * Y}, "labels"),
        ({"steps": [0, 4, 20]}, r"had steps \[0, 3, 10\] so far, and now \[0, 4\] is asked for"),
        ({"schedule": ns.dynamics.schedule([1.0, 0.5])}, "had a schedule .* so far"),
    ):  # fmt: skip
        given = {"k": k, "y": Y, **options, **changes}
        with pytest.raises(ValueError, match=message):
            ns.trainer.train(given.pop("k"), X, given.pop("y"), **given)
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, files(tmp_path)[0])
    with pytest.raises(ValueError, match="is no checkpoint of a training run"):
        ns.trainer.train(k, X, Y, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [0, 3, 12, 20]}, r"at step 20 had steps \[0, 3, 10, 20\] so far, and now \[0, 3, 12, 20\]"),
        ({"schedule": ns.dynamics.piecewise({0: 1.0, 15: 0.5})}, "at step 20 had a schedule .* so far"),
    ],
)
def test_parts_that_have_ended_have_seen_all_steps(changes, message, k, tmp_path):
    # The second network is at step 8, where neither change could be seen.
    with limits.limited(networks=1):
        interrupted(k, tmp_path, 30)
    assert files(tmp_path)[0].name == "checkpoint-0001-0000000008.safetensors"
    given = {**OPTIONS, "steps": STEPS, **changes}
    with pytest.raises(ValueError, match=message):
        ns.trainer.train(k, X, Y, checkpoint=tmp_path, resume=True, **given)


def test_one_that_does_not_tell_its_run_is_named(k, tmp_path):
    from safetensors.numpy import save_file

    options = {"steps": [0, 2], "seeds": 1, "checkpoint": tmp_path}
    name = "checkpoint-0000-0000000002.safetensors"
    for metadata, message in (
        ({}, "it has no configuration"),
        ({"configuration": "{", "progress": "{}"}, "its JSON is broken"),
        ({"configuration": "{}"}, "it has no progress"),
    ):
        save_file({"a": np.zeros(2)}, tmp_path / name, {"format": "ntkspec trainer 2", **metadata})
        with pytest.raises(ValueError, match=f"{name} does not describe its run: {message}"):
            ns.trainer.train(k, X, Y, resume=True, **options)


@pytest.mark.parametrize(
    "given", [{"optimizer": optax.adam(1e-2), "learning_rate": None}, {"point_loss": lambda f, y: abs(f - y) ** 3}]
)
def test_a_custom_object_goes_on_at_its_callers_word(given, k, tmp_path):
    options = {**OPTIONS, **given, "steps": STEPS}
    whole = ns.trainer.train(k, X, Y, **options)
    interrupted(k, tmp_path, 13, **given)
    with pytest.warns(UserWarning, match=f"no more of its {next(iter(given))} than a name") as said:
        r = ns.trainer.train(k, X, Y, checkpoint=tmp_path, resume=True, **options)
    xr.testing.assert_identical(r, whole)
    assert len(said) == 1


def test_another_run_is_not_written_over(k, tmp_path):
    interrupted(k, tmp_path, 13)
    with pytest.raises(
        ValueError, match=r"holds a checkpoint, checkpoint-0000-0000000012.* resume=True goes on from it"
    ):
        ns.trainer.train(k, X, Y, steps=STEPS, checkpoint=tmp_path, **OPTIONS)


#: Some four stability limits from step 10 on: the loss grows tenfold a step, from 2 to 2e6 and then out of bounds.
SLOWLY = {
    "steps": [60],
    "seeds": 2,
    "learning_rate": 0.16,
    "schedule": ns.dynamics.piecewise({0: 1.0, 10: 8.0}),
}


def kept_losses(k, path):
    """The loss of each network at the parameters of a checkpoint."""
    from safetensors.numpy import load_file

    params = ns.trainer._ensemble.initialise(k.network, 0, 2, k.mapping.num_features, 1, "float32")
    kept = restored("state.params", jax.tree.map(lambda leaf: leaf[None], params), Saved(load_file(path), {}, {}, path))
    of_seed = lambda tree, i: jax.tree.map(lambda leaf: leaf[i], tree)
    f = lambda one: np.asarray(k.network.apply(one, k.mapping(X)))[:, 0]
    moved = [f(of_seed(of_seed(kept, 0), i)) - f(of_seed(params, i)) for i in range(2)]
    return np.array([((each - Y) ** 2).sum() / 2 for each in moved])


def test_divergence_keeps_the_last_good_one(k, tmp_path):
    keep = ns.trainer.Keep(tmp_path, every=1)
    with pytest.raises(FloatingPointError, match=r"diverged by step 2\d; .* the last good checkpoint is ") as error:
        ns.trainer.train(k, X, Y, checkpoint=keep, **SLOWLY)
    newest, _ = files(tmp_path)
    # The step after which the growing loss is no longer called good; rounding of another version may move it by one.
    assert int(newest.stem.split("-")[-1]) in (18, 19, 20)
    assert str(error.value).endswith(newest.name)
    # Good is what lies at most 50 times the loss at zero above the start, which is at zero, too.
    assert all((kept_losses(k, path) <= 51 * (Y**2).sum() / 2).all() for path in files(tmp_path))


def test_ctrl_c_saves_on_the_way_up_and_says_so(k, tmp_path):
    class PressWhenHigh(PressAt):
        def advance(self, n=1, *, loss=0.0, **_):
            if loss > 1000:
                self.step = self.done + n
            super().advance(n)

    keep = ns.trainer.Keep(tmp_path, every=1)
    message = r"saved at step 2\d in .*; a loss there is .*, from 2 at the start, as in a run that diverges"
    with pytest.raises(KeyboardInterrupt, match=message):
        ns.trainer.train(k, X, Y, checkpoint=keep, progress=PressWhenHigh(1000), **SLOWLY)
    assert (kept_losses(k, files(tmp_path)[0]) > 1000).any()


def test_a_run_that_comes_down_again_is_saved_again(k, tmp_path):
    """From step 10 the loss goes from 0.02 to 20,000; from step 21 on the rate is low and it comes back to 4."""
    losses = []

    class Listen(StopAt):
        def advance(self, n=1, *, loss=0.0, **_):
            losses.append(loss)

    schedule = ns.dynamics.piecewise({0: 1.0, 10: 8.0, 21: 0.02})
    keep = ns.trainer.Keep(tmp_path, every=1)
    options = SLOWLY | {"schedule": schedule}
    ns.trainer.train(k, X, Y, checkpoint=keep, progress=Listen(60), **options)
    assert max(losses) > 1000
    assert [int(path.stem.split("-")[-1]) for path in files(tmp_path)] == [60, 59]


def test_bad_settings_are_refused(k, tmp_path):
    with pytest.raises(ValueError, match="every=0; expected a positive integer"):
        ns.trainer.Keep(tmp_path, every=0)
    with pytest.raises(ValueError, match="minutes=0; expected a positive number"):
        ns.trainer.Keep(tmp_path, minutes=0)
    with pytest.raises(ValueError, match="needs the folder of the checkpoints"):
        ns.trainer.train(k, X, Y, steps=[1], resume=True)
    with pytest.raises(ValueError, match="resume='latest'; expected True, False or 'previous'"):
        ns.trainer.train(k, X, Y, steps=[1], checkpoint=tmp_path, resume="latest")


#: A run that tells each step it reaches and the number it goes on from.
CHILD = """
import sys
import numpy as np
import ntkspec as ns
folder, out, last = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Teller:
    done = 0
    def start(self, *_, **__): return self
    def advance(self, n=1, **_):
        self.done += n
        print(self.done, flush=True)
    def __enter__(self): return self
    def __exit__(self, *_): return None

k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))
x = np.arange(8)[:, None] / 8
r = ns.trainer.train(
    k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, last // 2, last], optimizer="adam", learning_rate=1e-4, batch_size=4,
    seeds=2, checkpoint=ns.trainer.Keep(folder, every=8), resume=True, progress=Teller(),
)
ns.record.save(r, out)
"""


def undisturbed(last):
    """The same run in this process, without a checkpoint."""
    k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=16, b_std=0.1))
    options = {"optimizer": "adam", "learning_rate": 1e-4, "batch_size": 4, "seeds": 2}
    return ns.trainer.train(k, X, Y, steps=[0, last // 2, last], **options)


def killed_and_resumed(tmp_path, times, last):
    """Kill a run at steps drawn at random, let the last one end, and compare it with one that nobody stopped."""
    draw = random.Random(0)
    root = str(Path(ns.__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def child(name):
        command = [sys.executable, "-c", CHILD, str(tmp_path / name), str(tmp_path / f"{name}.nc"), str(last)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    reached = 0
    for number in range(times):
        process = child("killed")
        first = int(process.stdout.readline())
        # It goes on from the last checkpoint, and reports that, or its first stretch from the start.
        assert first >= min(reached - 8, last)
        target = draw.randint(first, max(first, last * (number + 1) // (times + 1)))
        steps = [first]
        while steps[-1] < target:
            steps.append(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].split()
        # The last line may be cut by the kill.
        reached = max([*steps, *map(int, lines[:-1])])
    process = child("killed")
    process.communicate()
    assert process.returncode == 0
    xr.testing.assert_identical(ns.record.load(tmp_path / "killed.nc"), undisturbed(last))
    assert len(files(tmp_path / "killed")) == 2
    return reached


def test_a_killed_run_loses_no_more_than_the_steps_since_its_last_checkpoint(tmp_path):
    killed_and_resumed(tmp_path, 3, 2000)


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_in_the_same_bits(tmp_path):
    killed_and_resumed(tmp_path, 20, 20000)

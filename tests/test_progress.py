import io
import os
import sys

import numpy as np
import pytest

from ntkspec.progress import NO_PROGRESS, NoProgress, Progress, TerminalProgress


def work(progress: Progress = NO_PROGRESS, steps=5, **fields):
    with progress.start("training", total=steps, unit="step") as stage:
        for _ in range(steps):
            stage.advance(**fields)


def test_nothing_is_shown_by_default(capfd):
    work()
    assert capfd.readouterr() == ("", "")
    assert isinstance(NO_PROGRESS, NoProgress)


def test_bar_goes_to_standard_error_only(capfd):
    work(TerminalProgress(disable=False), loss=0.123456, phase="warm")
    out, err = capfd.readouterr()
    assert out == ""
    for piece in ("training", "100%", "5/5", "step/s", "loss=0.123", "phase=warm"):
        assert piece in err


@pytest.mark.parametrize("disable", [None, True])
def test_bar_is_hidden_where_nobody_looks(capfd, disable):
    work(TerminalProgress(disable=disable), loss=1.0)
    assert capfd.readouterr() == ("", "")


def test_bar_is_shown_on_a_terminal_by_default(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(TerminalProgress())
    assert "5/5" in terminal.getvalue()


def test_steps_larger_than_one_and_unknown_totals(capfd):
    with TerminalProgress(disable=False).start("reading") as stage:
        stage.advance(40)
        stage.advance(2)
    assert "reading: 42 it" in capfd.readouterr().err


def test_array_fields_are_shown_as_numbers(capfd):
    work(TerminalProgress(disable=False), loss=np.array(0.25), count=np.int64(3))
    err = capfd.readouterr().err
    assert "loss=0.25" in err
    assert "count=3" in err


def test_fields_are_not_touched_when_hidden():
    class Costly:
        def __float__(self):
            raise AssertionError("a hidden bar must not wait for a device")

    work(TerminalProgress(disable=True), loss=Costly())
    work(NO_PROGRESS, loss=Costly())


@pytest.mark.parametrize("progress", [NO_PROGRESS, TerminalProgress(disable=False)], ids=["none", "terminal"])
def test_an_error_passes_through_and_ends_the_stage(capfd, progress):
    def diverge():
        with progress.start("training", 3) as stage:
            stage.advance()
            raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        diverge()
    if progress is not NO_PROGRESS:
        assert capfd.readouterr().err.endswith("\n")


def test_a_terminal_of_no_size_shows_a_bar(monkeypatch):
    # As it is opened, a pseudo-terminal has no columns and no rows.
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0) as shown, open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        work(TerminalProgress())
        terminal.flush()
        assert b"5/5" in shown.read(4096)

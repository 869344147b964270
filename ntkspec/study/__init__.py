"""The main job on one signal: several scales predicted side by side, then one of them checked by training.

This room asks the others in order and puts their answers side by side; it holds no mathematics of its own.
"""

from ntkspec.study._check import TRAINED_STEPS, Check, check, momentum_of, plan, steady
from ntkspec.study._problem import Problem, default_scales, noted, problem, problems, settled
from ntkspec.study._theory import (
    PREDICTED_STEPS,
    best,
    convergences,
    first_good_step,
    predicted,
    predictions,
    spectra,
    with_quality,
)
from ntkspec.study._validated import Validated, validated
from ntkspec.study._whole import Study, run

__all__ = [
    "PREDICTED_STEPS",
    "TRAINED_STEPS",
    "Check",
    "Problem",
    "Study",
    "Validated",
    "best",
    "check",
    "convergences",
    "default_scales",
    "first_good_step",
    "momentum_of",
    "noted",
    "plan",
    "predicted",
    "predictions",
    "problem",
    "problems",
    "run",
    "settled",
    "spectra",
    "steady",
    "validated",
    "with_quality",
]

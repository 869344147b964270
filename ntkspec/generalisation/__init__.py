"""How well training points tell of others, from the kernel and the labels of the training points alone.

Leave-one-out, generalised cross-validation and evidence ask the labels at hand; learning curves, risk and aliasing
follow from the kernel's spectrum and a target's.
"""

from ntkspec.generalisation.cross_validation import cross_validation
from ntkspec.generalisation.decomposition import Decomposition, decompose
from ntkspec.generalisation.evidence import evidence, scaled_evidence
from ntkspec.generalisation.leave_one_out import leave_one_out, leave_one_out_path

__all__ = [
    "Decomposition",
    "cross_validation",
    "decompose",
    "evidence",
    "leave_one_out",
    "leave_one_out_path",
    "scaled_evidence",
]

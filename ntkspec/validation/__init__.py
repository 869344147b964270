"""Trained networks against their prediction: how far they are apart, why, and how wide they would have to be.

Squared distances to theory are averaged over seeds, where those of single networks split exactly into what all seeds
share and what each has of its own. `validate` computes them, `explain` finds by controls what they are due to, and
`width_law` how they fall with the width.
"""

from ntkspec.validation._compare import validate
from ntkspec.validation._errors import psnr
from ntkspec.validation._explain import explain
from ntkspec.validation._width_law import width_law

__all__ = ["explain", "psnr", "validate", "width_law"]

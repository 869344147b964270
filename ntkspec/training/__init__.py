"""How networks are trained, as one plain record. A leaf that imports no numerics with itself."""

from ntkspec.training._optimizer import OWN, SEARCHERS, Optimizer, constructor_of
from ntkspec.training._training import Training, are_factors, custom_of
from ntkspec.training._unlike import Difference

__all__ = ["OWN", "SEARCHERS", "Difference", "Optimizer", "Training", "are_factors", "constructor_of", "custom_of"]

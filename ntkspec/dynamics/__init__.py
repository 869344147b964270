"""Training as one scalar filter of the spectrum: the residual of a mode after t steps is r(ηλ, t).

For a squared loss and a fixed kernel each eigenvector of K is trained on its own. A dynamics is its residual
filter r, the weight filter (1 − r)/(ηλ), finite at λ → 0, and the largest stable ηλ. All take the dimensionless
speed ηλ of a mode, where η is the learning rate of the summed loss.

Source: Jacot et al. 2018, section 5; Lee et al. 2019, section 2.2.
"""

from ntkspec.dynamics._base import Dynamics, Loss, flow_time, max_learning_rate, summed_rate
from ntkspec.dynamics._descent import GradientDescent, GradientFlow, gradient_descent, gradient_flow
from ntkspec.dynamics._description import describe, from_description
from ntkspec.dynamics._ensemble import ensemble
from ntkspec.dynamics._function_space import Solver, function_space_flow, huber
from ntkspec.dynamics._modified import (
    DampedPower,
    Preconditioned,
    Ridge,
    damped_power,
    equivalent_ridge,
    preconditioned,
    ridge,
)
from ntkspec.dynamics._momentum import HeavyBall, Nesterov, heavy_ball, nesterov
from ntkspec.dynamics._schedule import Schedule, cosine, piecewise, schedule
from ntkspec.dynamics._steps import steps_to
from ntkspec.dynamics._stochastic import Batches, stochastic_descent
from ntkspec.dynamics._times import Times
from ntkspec.losses import Huber, logistic

__all__ = [
    "Batches",
    "DampedPower",
    "Dynamics",
    "GradientDescent",
    "GradientFlow",
    "HeavyBall",
    "Huber",
    "Loss",
    "Nesterov",
    "Preconditioned",
    "Ridge",
    "Schedule",
    "Solver",
    "Times",
    "cosine",
    "damped_power",
    "describe",
    "ensemble",
    "equivalent_ridge",
    "flow_time",
    "from_description",
    "function_space_flow",
    "gradient_descent",
    "gradient_flow",
    "heavy_ball",
    "huber",
    "logistic",
    "max_learning_rate",
    "nesterov",
    "piecewise",
    "preconditioned",
    "ridge",
    "schedule",
    "steps_to",
    "stochastic_descent",
    "summed_rate",
]

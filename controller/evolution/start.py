"""Where evolution starts: the heuristic, with a hidden layer in which every unit reads one feature.

The output layer is zero, so whatever the hidden layer is, the policy starts exactly as the
heuristic. With random directions in it, a candidate's change of the output layer mixes all
features; with axes, eight numbers say how much each of eight features counts. That is found with a
tenth of the games, and the directions are free to turn while the search goes on.
"""

import numpy as np

from controller.decide import FEATURES
from controller.policy import Actor, parameters
from quantum.ledger.state import Floats

__all__ = ["AXES", "axes"]

#: The feature that each hidden unit reads at first, and how steeply.
AXES = (
    ("gap relative to the target", 1.0),
    ("stock", 1.0),
    ("neighbour's memory in use", 2.0),
    ("neighbour's generation rate", 1.0),
    ("neighbour's swap bucket", 2.0),
    ("neighbour's swap capacity", 1.0),
    ("gap relative to the forecast", 1.0),
    ("claims that lack a pair", 1.0),
)


def axes() -> Floats:
    """Return the weights (P,) of a policy that is the heuristic and whose units read one feature.

    >>> weights = axes()
    >>> weights.shape, float(abs(weights[-len(AXES) :]).max())
    ((112,), 0.0)
    """
    w1 = np.zeros((1, len(FEATURES), len(AXES)))
    for unit, (name, steep) in enumerate(AXES):
        w1[0, FEATURES.index(name), unit] = steep
    zero = np.zeros((1, len(AXES)))
    weights: Floats = parameters(Actor(w1, zero, zero))[0]
    return weights

"""Policies as files: one set of weights, and what they are weights of.

The file names the features that the policy reads, in order: weights mean nothing on others, so a
file of other features is refused. ``notes`` say how it was made: command, seeds, versions.
"""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from controller.checkpoint import Checkpoint, load, save
from controller.decide import FEATURES
from controller.policy import Actor, from_parameters, initial_actor, parameters
from quantum.errors import InputError
from quantum.ledger.state import Floats

__all__ = [
    "FEATURE_NOTE",
    "HEURISTIC",
    "LEARNED",
    "SHIPPED",
    "actor_of",
    "heuristic_weights",
    "made_by",
    "policy_in",
    "start_weights",
    "state_path",
    "weights_from",
    "write_policy",
]

#: What every file of weights says of them, beside how it was made.
FEATURE_NOTE = {"features": list(FEATURES)}
#: Where a policy starts without a file: the one that is part of the package, which evolution found;
#: what PPO made of it; the heuristic.
SHIPPED, LEARNED, HEURISTIC = "shipped", "ppo", "heuristic"
_FILES = {SHIPPED: "policy.safetensors", LEARNED: "policy.ppo.safetensors"}


def heuristic_weights(seed: int) -> Floats:
    """Return weights (P,) that decide as the tuned mean-rate rule, ready to learn."""
    weights: Floats = parameters(initial_actor(1, len(FEATURES), seed=seed))[0]
    return weights


def start_weights(name: str, seed: int = 0) -> Floats:
    """Return the weights (P,) of ``shipped``, ``ppo``, ``heuristic`` or a policy file.

    ``seed`` draws what a policy that starts as the heuristic has not learned yet.
    """
    if name == HEURISTIC:
        return heuristic_weights(seed)
    return weights_from(_in_package(_FILES[name]) if name in _FILES else Path(name))


def _in_package(name: str) -> Path:
    return Path(str(files("controller").joinpath("data", name)))


def made_by(command: str) -> dict[str, Any]:
    """Return notes that say how a policy was made: the command and the versions."""
    names = ("dpem", "numpy", "numba", "torch")
    return {
        "command": command,
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in names},
    }


def write_policy(
    path: Path, weights: Floats, *, seed: int, round_index: int, notes: Mapping[str, Any]
) -> str:
    """Write the one weight set (P,) of a policy with its features and notes; returns its digest."""
    said = {**notes, **FEATURE_NOTE}
    return save(path, {"policy": weights}, seed=seed, round_index=round_index, notes=said)


def weights_from(path: Path) -> Floats:
    """Read the one weight set (P,) of a policy file; InputError if it is none or of others."""
    return policy_in(load(path), path)


def policy_in(found: Checkpoint, path: Path) -> Floats:
    """Return the weights (P,) in a checkpoint; InputError if there are none, or of other features.

    The learning state of a training has them, too.
    """
    policy = found.arrays.get("policy")
    if policy is None or policy.ndim != 1:
        raise InputError(f"{path} holds no policy")
    features = found.notes.get("features")
    if features != list(FEATURES):
        raise InputError(f"{path} is a policy of other features: {_difference(features)}")
    weights = policy.astype(np.float64)
    actor_of(weights, 1)
    return weights


def _difference(features: Any) -> str:
    """Say in a few words where features differ from those of this version."""
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        return f"it names none, this version has {len(FEATURES)}"
    for name in features:
        if name not in FEATURES:
            return f"it reads {name!r}, which this version has not"
    missing = [name for name in FEATURES if name not in features]
    return f"it does not read {missing[0]!r}" if missing else "they are in another order"


def state_path(policy: Path) -> Path:
    """Return where the learning state of a policy file lies.

    >>> state_path(Path("a/policy.safetensors")).name
    'policy.state.safetensors'
    """
    return policy.with_suffix(".state.safetensors")


def actor_of(weights: Floats, nodes: int) -> Actor:
    """Give one weight set (P,) to every node; InputError if it is of another size.

    >>> actor_of(heuristic_weights(0), 3).b1.shape
    (3, 8)
    """
    hidden, rest = divmod(weights.size, len(FEATURES) + 2)
    if weights.ndim != 1 or rest or hidden < 1:
        raise InputError(
            f"a policy has a multiple of {len(FEATURES) + 2} weights, got {weights.shape}"
        )
    return from_parameters(np.tile(weights, (nodes, 1)), len(FEATURES), hidden)

"""Several trainings by evolution, and the mean of their weights: less luck than one long training.

Weights of trainings that begin at the same point lie in one valley, so their mean is a policy too
(Wortsman et al., ICML 2022), and what each of them owes to the luck of its games averages out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from controller.checkpoint import load
from controller.evolution.training import Evolved
from controller.policy_file import policy_in, write_policy
from quantum.errors import InputError

__all__ = ["MOST", "Averaged", "averaged", "file_of"]

#: Trainings that one command may make.
MOST = 64

#: Trains with a seed and writes the policy to a file; True: goes on from what is there.
Trainer = Callable[[int, Path, bool], Evolved]


class Averaged(msgspec.Struct, frozen=True):
    """What each training brought, by its seed; ``policy`` is the mean of their weights."""

    trainings: dict[str, Evolved]
    digest: str
    policy: str


def file_of(policy: Path, seed: int) -> Path:
    """Return where the policy of one of several trainings lies.

    >>> file_of(Path("a/policy.safetensors"), 3).name
    'policy-3.safetensors'
    """
    return policy.with_name(f"{policy.stem}-{seed}{policy.suffix}")


def averaged(
    train: Trainer, count: int, out: Path, *, seed: int, resume: bool, notes: dict[str, Any]
) -> Averaged:
    """Make ``count`` trainings, with ``seed`` and those after it, and write the mean to ``out``.

    Their files stand beside it (:func:`file_of`). ``resume`` goes on with those that are there;
    otherwise none may be. The mean names the digests of the policies that it is of.
    Raises InputError for numbers and files that cannot be.
    """
    if not 2 <= count <= MOST:
        raise InputError(f"trainings must be between 1 and {MOST}, got {count}")
    files = {number: file_of(out, number) for number in range(seed, seed + count)}
    there = [path for path in files.values() if path.exists()]
    if there and not resume:
        raise InputError(f"{there[0]} exists: go on with --resume {out}, or give another --out")
    if resume and not there:
        raise InputError(f"cannot resume from {out}: there is no {files[seed]} beside it")
    found = {str(n): train(n, path, path.exists()) for n, path in files.items()}
    policies = [load(path) for path in files.values()]
    each = [policy_in(one, path) for one, path in zip(policies, files.values(), strict=True)]
    weights = np.mean(each, axis=0)
    said = {**notes, "mean of": [policy.digest for policy in policies]}
    generations = len(found[str(seed)].generations)
    digest = write_policy(out, weights, seed=seed, round_index=generations, notes=said)
    return Averaged(found, digest, str(out))

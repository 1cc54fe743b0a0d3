"""Federated averaging of small weight vectors, with clipping and Gaussian noise; numpy only.

McMahan et al., arXiv:1602.05629 (averaging) and arXiv:1710.06963 (client-level privacy): clients
take part at random, each update is clipped, the sum is divided by the *expected* number of
clients, so that one client moves the result by at most ``clip_norm / expected_clients`` whoever
else takes part, and noise of ``noise_multiplier`` times that is added. :mod:`controller.privacy`
says what (epsilon, delta) this composes to.

Noise drawn from a seed makes runs repeatable, and is private only against those who do not know the
seed; so is secret participation. Outside simulation open :func:`randomness` with ``seed=None``.

Two trust models. *Trusted aggregator*: clients send clipped updates, :func:`aggregate` adds the
noise. *Local*: clients send what :func:`privatise` returns, and nobody need be trusted; robust
aggregators (:func:`median`, :func:`trimmed_mean`, :func:`krum`) can then be used too. Without local
noise they come with no epsilon at all: their sensitivity is not that of the mean.
"""

import secrets
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quantum.draws import uniforms
from quantum.errors import InputError
from quantum.seeding import generator, stream

__all__ = [
    "aggregate",
    "clip",
    "dropped",
    "krum",
    "median",
    "next_clip",
    "participants",
    "privatise",
    "privatise_each",
    "randomness",
    "robust_aggregate",
    "trimmed_mean",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def randomness(seed: int | None, round_index: int) -> np.random.Generator:
    """Open the generator of a round's noise: by key, or from the operating system for None."""
    if seed is None:
        return np.random.Generator(np.random.Philox(key=secrets.randbits(128)))
    return generator(seed, "federated-noise", round_index)


def participants(clients: int, rate: float, *, seed: int | None, round_index: int) -> Ints:
    """Return the clients of a round: each takes part with probability ``rate``, independently.

    Poisson participation is what the accountant's amplification by sampling assumes; nobody but
    the aggregator may know who takes part. ``seed`` None asks the operating system.

    >>> participants(3, 1.0, seed=0, round_index=0)
    array([0, 1, 2])
    """
    if not 0.0 < rate <= 1.0:
        raise InputError(f"participation must be above 0 and at most 1, got {rate}")
    if seed is None:
        return np.flatnonzero(randomness(None, round_index).random(clients) < rate)
    draw = uniforms(seed, stream("participation"), round_index, np.arange(clients), 0)
    return np.flatnonzero(draw < rate)


def dropped(deltas: Floats) -> Ints:
    """Return the rows that are not finite and therefore take no part in an aggregate.

    >>> dropped(np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf]]))
    array([1, 2])
    """
    return np.flatnonzero(~np.all(np.isfinite(deltas), axis=1))


def clip(deltas: Floats, norm: float) -> Floats:
    """Scale each row (n, P) down to at most ``norm`` in L2; rows not finite become zero.

    >>> clip(np.array([[3.0, 4.0], [0.3, 0.4], [np.nan, 1.0]]), 1.0)
    array([[0.6, 0.8],
           [0.3, 0.4],
           [0. , 0. ]])
    """
    _check_positive("clip_norm", norm)
    if deltas.ndim != 2:
        raise InputError(f"deltas must have shape (clients, parameters), got {deltas.shape}")
    clean = deltas.astype(np.float64)
    clean[dropped(deltas)] = 0.0
    # In units of the largest entry, because the length of a huge update overflows to infinity.
    largest = np.maximum(np.abs(clean).max(axis=1, initial=0.0, keepdims=True), 1e-200)
    shape = clean / largest
    length = np.linalg.norm(shape, axis=1, keepdims=True)
    over = length > norm / largest
    unit = shape / np.maximum(length, 1e-300)
    return np.where(over, unit * norm, clean)


def aggregate(
    current: Floats,
    deltas: Floats,
    *,
    clip_norm: float,
    noise_multiplier: float,
    expected_clients: float,
    rng: np.random.Generator,
) -> Floats:
    """Return the next global parameters (P,) from the clients' updates (n, P), n >= 0.

    Adds noise of standard deviation ``noise_multiplier * clip_norm / expected_clients`` to every
    parameter, also in a round without clients: silence would tell that there were none. Updates
    that are not finite count as zero; :func:`dropped` names them.
    """
    _check_positive("expected_clients", expected_clients)
    _check_noise(noise_multiplier)
    _check_sizes(current, deltas)
    mean = clip(deltas, clip_norm).sum(axis=0) / expected_clients
    sigma = noise_multiplier * clip_norm / expected_clients
    return np.asarray(current + mean + sigma * rng.standard_normal(len(current)))


def privatise(
    deltas: Floats, *, clip_norm: float, noise_multiplier: float, rng: np.random.Generator
) -> Floats:
    """Clip each update and add noise of ``noise_multiplier * clip_norm`` to it before it is sent.

    Clients on machines of their own call it with their one row and their own randomness.
    """
    _check_noise(noise_multiplier)
    clipped = clip(deltas, clip_norm)
    return np.asarray(clipped + noise_multiplier * clip_norm * rng.standard_normal(clipped.shape))


def privatise_each(
    deltas: Floats,
    nodes: Ints,
    *,
    clip_norm: float,
    noise_multiplier: float,
    seed: int | None,
    slot: int,
) -> Floats:
    """Let every node privatise its own row with its own randomness, whoever shares its process.

    Keyed by seed, slot and node, or from the operating system where ``seed`` is None.
    """
    out = np.empty(deltas.shape)
    for row, node in enumerate(nodes.tolist()):
        own = randomness(None, slot) if seed is None else generator(seed, "local-noise", slot, node)
        out[row] = privatise(
            deltas[row : row + 1],
            clip_norm=clip_norm,
            noise_multiplier=noise_multiplier,
            rng=own,
        )[0]
    return out


def next_clip(
    clip_norm: float,
    lengths: Floats,
    *,
    expected_clients: float,
    count_noise: float,
    rng: np.random.Generator,
    quantile: float = 0.5,
    rate: float = 0.2,
) -> float:
    """Move the clipping norm towards a quantile of the updates' lengths (k,), privately.

    Andrew et al., arXiv:1905.03871: the share of updates that are not clipped is published with
    noise of ``count_noise`` clients; each client's bit is centred, so that it counts for a half.

    >>> rng = np.random.default_rng(0)
    >>> lengths = np.array([3.0, 4.0])
    >>> round(next_clip(1.0, lengths, expected_clients=2.0, count_noise=0.0, rng=rng), 3)
    1.105
    """
    _check_positive("clip_norm", clip_norm)
    _check_positive("expected_clients", expected_clients)
    centred = np.where(lengths <= clip_norm, 0.5, -0.5).sum()
    share = 0.5 + (centred + count_noise * rng.standard_normal()) / expected_clients
    return float(clip_norm * np.exp(-rate * (share - quantile)))


def robust_aggregate(current: Floats, deltas: Floats, how: Callable[[Floats], Floats]) -> Floats:
    """Return the next global parameters by a robust ``how``, over the finite updates only."""
    _check_sizes(current, deltas)
    kept = np.delete(deltas, dropped(deltas), axis=0)
    return np.asarray(current + how(kept)) if len(kept) else current.copy()


def median(deltas: Floats) -> Floats:
    """Return the median of each parameter (Yin et al., arXiv:1803.01498).

    >>> median(np.array([[1.0], [2.0], [900.0]]))
    array([2.])
    """
    return np.asarray(np.median(deltas, axis=0))


def trimmed_mean(deltas: Floats, share: float = 0.1) -> Floats:
    """Return the mean of each parameter without the ``share`` largest and smallest values.

    Rounded up to whole clients at each end (Yin et al., arXiv:1803.01498).

    >>> trimmed_mean(np.array([[-50.0], [1.0], [3.0], [900.0]]), 0.25)
    array([2.])
    """
    if not 0.0 <= share < 0.5:
        raise InputError(f"trimmed share must be at least 0 and below 0.5, got {share}")
    clients = len(deltas)
    cut = min(int(np.ceil(share * clients)), (clients - 1) // 2)
    return np.asarray(np.sort(deltas, axis=0)[cut : clients - cut].mean(axis=0))


def krum(deltas: Floats, faulty: int = 1) -> Floats:
    """Return the update nearest to its ``n - faulty - 2`` nearest others.

    Blanchard et al., NeurIPS 2017, for n >= 2 faulty + 3 clients.
    """
    clients = len(deltas)
    if faulty < 0 or clients < 2 * faulty + 3:
        raise InputError(f"krum needs at least {2 * faulty + 3} clients, got {clients}")
    square = np.square(deltas).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2.0 * deltas @ deltas.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.sort(distance, axis=1)[:, : clients - faulty - 2]
    return np.asarray(deltas[int(np.argmin(nearest.sum(axis=1)))].copy())


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < float("inf"):
        raise InputError(f"federated.{name} must be > 0 and finite, got {value}")


def _check_noise(value: float) -> None:
    if not 0.0 <= value < float("inf"):
        raise InputError(f"federated.noise_multiplier must be >= 0 and finite, got {value}")


def _check_sizes(current: Floats, deltas: Floats) -> None:
    if current.ndim != 1 or deltas.ndim != 2 or deltas.shape[1] != len(current):
        raise InputError(f"deltas must have shape (clients, {current.size}), got {deltas.shape}")
    if not np.all(np.isfinite(current)):
        raise InputError("federated global parameters must be finite")

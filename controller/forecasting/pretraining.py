"""Training of a forecaster on many traces at once, for the networks that come with the package.

The looks of many traces are one set; all nodes share the weights here. Adam on the negative
log-likelihood: of hazards until the first block, of rates in all bins.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from controller.adam import Adam, views
from controller.forecasting.lessons import Lessons
from controller.forecasting.recurrence import Weights, log_rates, new_weights, recur
from controller.forecasting.streams import BIN_S
from quantum.seeding import generator

__all__ = ["fit", "loss_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Windows of nodes in a batch.
_BATCH = 1024
_RECURRENT = ("wi", "bi", "wh", "bh")


def fit(
    lessons: Lessons,
    held_out: Lessons,
    *,
    hidden: int,
    units: int,
    epochs: int,
    learning_rate: float = 1e-2,
    seed: int = 0,
    read: tuple[Floats, Floats] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[Weights, float]:
    """Train one network and return it with its loss on ``held_out``, in nats a look.

    ``read`` gives hidden states (W, H) of both sets of windows that something else has read: then
    only the head is trained, and the recurrent weights are zero.
    """
    inputs, features = lessons.events.shape[2], lessons.bins.shape[2]
    weights = new_weights(1, inputs, features, hidden=hidden, units=units, seed=seed)
    if read is not None:
        weights = weights._replace(**{key: 0.0 * getattr(weights, key) for key in _RECURRENT})
    flat = torch.from_numpy(np.concatenate([part.reshape(1, -1) for part in weights], axis=1))
    flat = flat.float()
    leaves = tuple(views(flat, [(part.shape[1], part.shape[2]) for part in weights]))
    trained = leaves if read is None else leaves[4:]
    fixed = sum(leaf.numel() for leaf in leaves) - sum(leaf.numel() for leaf in trained)
    ours, theirs = (None, None) if read is None else read
    adam = Adam(flat, learning_rate=learning_rate)
    rng = generator(seed, "pretraining")
    order = np.argsort(lessons.place, kind="stable")
    edges = np.searchsorted(lessons.place[order], np.arange(len(lessons.length) + 1))
    steps = epochs * math.ceil(len(lessons.length) / _BATCH)
    done, active = 0, torch.ones(1, dtype=torch.bool)
    for epoch in range(epochs):
        shuffled = rng.permutation(len(lessons.length))
        for first in range(0, len(shuffled), _BATCH):
            pick = np.sort(shuffled[first : first + _BATCH])
            rows = order[np.concatenate([np.arange(edges[w], edges[w + 1]) for w in pick])]
            scale = 0.5 * (1.0 + math.cos(math.pi * done / steps))
            done += 1
            if not len(rows):
                continue
            loss = _loss(leaves, lessons, ours, pick, rows)
            parts = [g.flatten(1) for g in torch.autograd.grad(loss, trained)]
            gradient = torch.cat([torch.zeros(1, fixed), *parts], dim=1)
            gradient = gradient * (1.0 / (gradient.norm() + 1e-6)).clamp_max(1.0)
            adam.step(gradient, active, scale=scale)
        if progress is not None:
            progress(epoch + 1, loss_of(leaves, held_out, theirs))
    found = Weights(*(leaf.detach().double().numpy().copy() for leaf in leaves))
    return found, loss_of(leaves, held_out, theirs)


@torch.no_grad()
def loss_of(
    leaves: tuple[torch.Tensor, ...], lessons: Lessons, read: Floats | None = None
) -> float:
    """Return the mean loss of a look."""
    every = np.arange(len(lessons.length))
    order = np.argsort(lessons.place, kind="stable")
    return float(_loss(leaves, lessons, read, every, order))


def _loss(
    leaves: tuple[torch.Tensor, ...],
    lessons: Lessons,
    read: Floats | None,
    pick: Ints,
    rows: Ints,
) -> torch.Tensor:
    place = np.searchsorted(pick, lessons.place[rows])
    offset = np.log(lessons.flat[rows] * BIN_S).astype(np.float32)
    if read is None:
        events, length = (torch.from_numpy(a[pick]) for a in (lessons.events, lessons.length))
        hidden = recur(leaves[:4], events.unsqueeze(0), length.unsqueeze(0))
    else:
        hidden = torch.from_numpy(read[pick].astype(np.float32)).unsqueeze(0)
    log = log_rates(
        leaves[4:],
        hidden,
        torch.from_numpy(place).unsqueeze(0),
        torch.from_numpy(lessons.bins[rows]).unsqueeze(0),
        torch.from_numpy(offset)[None, :, None, None],
    )[0]
    came = torch.from_numpy(lessons.came[rows] > 0.0)
    before = came.cumsum(1) - came.int() > 0
    weight = torch.from_numpy(lessons.weight[rows]).float()
    rate = log.exp()
    # log(1 - exp(-x)), exact for small x too.
    hit = torch.log(-torch.expm1(-rate.clamp_min(1e-12)))
    nll = torch.where(came.unsqueeze(-1), -hit, rate)
    counts = torch.stack([~before, torch.ones_like(before)], dim=-1)
    return ((nll * counts).sum((1, 2)) * weight).sum() / weight.sum()

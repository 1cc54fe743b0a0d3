"""``python -m controller.forecasting.pretraining``: make the network that comes with the package.

The looks of many traces are one set; all nodes share the weights here. Adam on the negative
log-likelihood: of hazards until the first block, of rates in all bins.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from controller.adam import Adam, views
from controller.forecasting.lessons import Lessons
from controller.forecasting.recurrence import Weights, log_rates, new_weights
from controller.forecasting.streams import BIN_S
from quantum.seeding import generator

__all__ = ["fit", "loss_of"]

#: Windows of nodes in a batch.
_BATCH = 1024


def fit(
    lessons: Lessons,
    held_out: Lessons,
    *,
    hidden: int = 8,
    units: int = 16,
    epochs: int = 8,
    learning_rate: float = 1e-2,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[Weights, float]:
    """Train one network and return it with its loss on ``held_out``, in nats a look."""
    weights = new_weights(
        1,
        lessons.events.shape[2],
        lessons.bins.shape[2],
        hidden=hidden,
        units=units,
        seed=seed,
    )
    shapes = [part.shape[1:] for part in weights]
    flat = torch.from_numpy(np.concatenate([part.reshape(1, -1) for part in weights], axis=1))
    flat = flat.float()
    leaves = views(flat, shapes)
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
            loss = _loss(tuple(leaves), lessons, pick, rows)
            gradient = torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, leaves)], dim=1)
            gradient = gradient * (1.0 / (gradient.norm() + 1e-6)).clamp_max(1.0)
            scale = 0.5 * (1.0 + math.cos(math.pi * done / steps))
            adam.step(gradient, active, scale=scale)
            done += 1
        if progress is not None:
            progress(epoch + 1, loss_of(tuple(leaves), held_out))
    parts = [leaf.detach().double().numpy().copy() for leaf in leaves]
    return Weights(*parts), loss_of(tuple(leaves), held_out)


@torch.no_grad()
def loss_of(leaves: tuple[torch.Tensor, ...], lessons: Lessons) -> float:
    """Return the mean loss of a look."""
    every = np.arange(len(lessons.length))
    order = np.argsort(lessons.place, kind="stable")
    return float(_loss(leaves, lessons, every, order))


def _loss(
    leaves: tuple[torch.Tensor, ...], lessons: Lessons, pick: np.ndarray, rows: np.ndarray
) -> torch.Tensor:
    place = np.searchsorted(pick, lessons.place[rows])
    offset = np.log(lessons.flat[rows] * BIN_S).astype(np.float32)
    log = log_rates(
        leaves,
        torch.from_numpy(lessons.events[pick]).unsqueeze(0),
        torch.from_numpy(lessons.length[pick]).unsqueeze(0),
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

"""How many pairs will be asked of a node, bin by bin: a GRU per node, trained as it runs.

Cho et al., arXiv:1406.1078, in the form of ``torch.nn.GRU``, N separate weight sets stacked along
the leading axis. The head gives the logarithm of the expected pairs. An ``offset`` (the logarithm
of a rival's forecast, such as the seasonal profile times the recent level) makes it a correction
of the rival; the head starts at zero, so learning starts exactly there.

Training runs in torch; forecasting in a kernel of plain loops, so that a node's forecast does not
depend on how many nodes share a process. Both are float64 and agree to rounding. Set
``torch.set_num_threads(1)`` once per process.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import nbinom, poisson

from controller.adam import Adam, copy_into, views
from quantum.errors import InputError
from quantum.kernels import kernel
from quantum.seeding import generator

__all__ = ["Forecaster"]

Floats = NDArray[np.float64]
Likelihood = Literal["poisson", "negative_binomial"]

#: Bound of the log of the expected pairs in a bin: far beyond any demand, far from overflow.
_BOUND = 12.0
_MAX_GRADIENT_NORM = 1.0


class _Weights(NamedTuple):
    """Stacked weights; the gates are laid out reset, update, new."""

    wi: torch.Tensor  # (N, I, 3H)
    bi: torch.Tensor  # (N, 1, 3H)
    wh: torch.Tensor  # (N, H, 3H)
    bh: torch.Tensor  # (N, 1, 3H)
    wo: torch.Tensor  # (N, H, horizon)
    bo: torch.Tensor  # (N, 1, horizon)
    log_dispersion: torch.Tensor  # (N, 1, 1)


class Forecaster:
    """N recurrent forecasters with weights of their own.

    ``likelihood`` is what training maximises and quantiles are taken from; "negative_binomial"
    learns one dispersion a node, for demand that comes in batches. With ``train_body=False`` only
    the head learns: heads may be averaged over nodes only while their bodies are equal.
    """

    def __init__(
        self,
        nodes: int,
        inputs: int,
        hidden: int = 16,
        horizon: int = 8,
        *,
        seed: int = 0,
        learning_rate: float = 1e-2,
        likelihood: Likelihood = "poisson",
        train_body: bool = True,
    ) -> None:
        sizes = {"nodes": nodes, "inputs": inputs, "hidden": hidden, "horizon": horizon}
        for name, value in sizes.items():
            if value < 1:
                raise InputError(f"forecaster.{name} must be >= 1, got {value}")
        if likelihood not in ("poisson", "negative_binomial"):
            raise InputError(
                f"forecaster.likelihood must be poisson or negative_binomial, got {likelihood}"
            )
        if not 0.0 < learning_rate < math.inf:
            raise InputError(f"forecaster.learning_rate must be > 0, got {learning_rate}")
        self.nodes, self.inputs, self.hidden, self.horizon = nodes, inputs, hidden, horizon
        self.likelihood: Likelihood = likelihood
        gates = 3 * hidden
        shapes = [(inputs, gates), (1, gates), (hidden, gates), (1, gates)]
        self._body = sum(rows * columns for rows, columns in shapes)
        shapes += [(hidden, horizon), (1, horizon), (1, 1)]
        bound = 1.0 / math.sqrt(hidden)
        body = generator(seed, "forecaster").uniform(-bound, bound, self._body)
        flat = np.concatenate([body, np.zeros((hidden + 1) * horizon + 1)])
        self._flat = torch.from_numpy(np.tile(flat, (nodes, 1)))
        self._weights = _Weights(*views(self._flat, shapes))
        self._adam = Adam(self._flat, learning_rate=learning_rate)
        self._train_body = train_body

    def predict(self, history: Floats, offset: Floats | None = None) -> Floats:
        """Return the expected pairs of the next bins, (N, horizon).

        ``history`` (N, L, inputs), the newest bin last; ``offset`` (N, horizon), as in training.
        """
        self._check("history", history, (self.nodes, history.shape[1], self.inputs))
        shift = np.zeros((self.nodes, self.horizon)) if offset is None else offset
        self._check("offset", shift, (self.nodes, self.horizon))
        out = np.empty((self.nodes, self.horizon))
        wi, bi, wh, bh, wo, bo, _ = (part.detach().numpy() for part in self._weights)
        history, shift = np.ascontiguousarray(history), np.ascontiguousarray(shift)
        _forward(wi, bi, wh, bh, wo, bo, history, shift, out)
        return out

    def quantiles(
        self, history: Floats, levels: Floats, offset: Floats | None = None
    ) -> NDArray[np.int64]:
        """Return the counts (N, horizon, Q) not exceeded with probabilities ``levels`` (Q,)."""
        if np.any(~((levels > 0.0) & (levels < 1.0))):
            raise InputError("forecast levels must be between 0 and 1")
        mean = self.predict(history, offset)[..., None]
        if self.likelihood == "poisson":
            return np.asarray(poisson.ppf(levels, mean), dtype=np.int64)
        size = torch.exp(-self._weights.log_dispersion).detach().numpy()
        return np.asarray(nbinom.ppf(levels, size, size / (size + mean)), dtype=np.int64)

    def train(
        self,
        windows: Floats,
        targets: Floats,
        steps: int,
        *,
        offset: Floats | None = None,
        valid: NDArray[np.bool_] | None = None,
    ) -> float:
        """Take ``steps`` of Adam on windows (N, B, L, inputs) and targets (N, B, horizon).

        ``offset`` is like ``targets``; ``valid`` (N, B) says which windows count, and nodes without
        any stay as they are. Returns the mean negative log-likelihood of a bin before the last
        step, in nats. Raises InputError on shapes that do not fit, or values not finite.
        """
        if windows.ndim != 4 or steps < 1:
            raise InputError("windows must have 4 axes (nodes, batch, bins, inputs), steps be >= 1")
        batch = windows.shape[1]
        self._check("windows", windows, (self.nodes, batch, windows.shape[2], self.inputs))
        self._check("targets", targets, (self.nodes, batch, self.horizon))
        if np.any(targets < 0.0):
            raise InputError("targets must be counts >= 0")
        shift = np.zeros_like(targets) if offset is None else offset
        self._check("offset", shift, targets.shape)
        on = np.ones((self.nodes, batch), dtype=np.bool_) if valid is None else valid
        self._check("valid", on, (self.nodes, batch))
        if not on.any():
            raise InputError("training needs at least one valid window")

        x, y, add = (torch.from_numpy(np.ascontiguousarray(a)) for a in (windows, targets, shift))
        weight = torch.from_numpy(on / np.maximum(on.sum(axis=1, keepdims=True), 1))
        active = torch.from_numpy(on.any(axis=1))
        loss = 0.0
        for _ in range(steps):
            nll = self._nll(self._log_mean(x, add), y).mean(-1)
            per_node = (nll * weight).sum(1)
            gradients = torch.autograd.grad(per_node.sum(), self._weights, materialize_grads=True)
            gradient = torch.cat([g.flatten(1) for g in gradients], dim=1)
            if not self._train_body:
                gradient[:, : self._body] = 0.0
            norm = gradient.square().sum(1, keepdim=True).sqrt()
            gradient = gradient * (_MAX_GRADIENT_NORM / (norm + 1e-6)).clamp_max(1.0)
            self._adam.step(gradient, active)
            loss = float(per_node.detach()[active].mean())
        return loss

    def head(self) -> Floats:
        """Return a copy of the heads, (N, (hidden + 1) * horizon + 1): what is federated."""
        return self._flat[:, self._body :].numpy().copy()

    def load_head(self, head: Floats) -> None:
        """Take over heads (N, ...), as after a federated round; Adam's moments are kept."""
        self._check("head", head, (self.nodes, self._flat.shape[1] - self._body))
        self._flat[:, self._body :] = torch.from_numpy(np.ascontiguousarray(head))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return weights and moments as arrays."""
        adam = {f"adam.{name}": part for name, part in self._adam.state().items()}
        return {"parameters": self._flat.numpy().copy(), **adam}

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken; InputError if it is of another shape."""
        copy_into(self._flat, state, "parameters")
        self._adam.load_state(
            {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        )

    def _log_mean(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Return the log of the expected pairs (N, B, horizon)."""
        w, hidden = self._weights, self.hidden
        nodes, batch, length, inputs = x.shape
        rows = x.transpose(1, 2).reshape(nodes, length * batch, inputs)
        projected = torch.baddbmm(w.bi, rows, w.wi).view(nodes, length, batch, 3 * hidden)
        h = x.new_zeros(nodes, batch, hidden)
        # Indexing a step would back-propagate a full-size zero tensor for each; unbind does not.
        for gi in projected.unbind(1):
            gh = torch.baddbmm(w.bh, h, w.wh)
            gates = torch.sigmoid(gi[..., : 2 * hidden] + gh[..., : 2 * hidden])
            reset, update = gates.chunk(2, -1)
            new = torch.tanh(gi[..., 2 * hidden :] + reset * gh[..., 2 * hidden :])
            h = new + update * (h - new)
        return (offset + torch.baddbmm(w.bo, h, w.wo)).clamp(-_BOUND, _BOUND)

    def _nll(self, log_mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.likelihood == "poisson":
            return log_mean.exp() - y * log_mean + torch.lgamma(y + 1.0)
        log_size = -self._weights.log_dispersion
        size = log_size.exp()
        log_sum = torch.logaddexp(log_size, log_mean)
        combinations = torch.lgamma(y + size) - torch.lgamma(size) - torch.lgamma(y + 1.0)
        return -(combinations + size * (log_size - log_sum) + y * (log_mean - log_sum))

    def _check(self, name: str, value: NDArray[np.generic], shape: tuple[int, ...]) -> None:
        if value.shape != shape:
            raise InputError(f"{name} must have shape {shape}, got {value.shape}")
        if not np.all(np.isfinite(value)):
            raise InputError(f"{name} must be finite")


@kernel
def _forward(
    wi: Floats,
    bi: Floats,
    wh: Floats,
    bh: Floats,
    wo: Floats,
    bo: Floats,
    history: Floats,
    offset: Floats,
    out: Floats,
) -> None:
    """Write the expected pairs of every node into ``out`` (N, horizon)."""
    nodes, length, inputs = history.shape
    hidden = wh.shape[1]
    gi, gh, h = np.empty(3 * hidden), np.empty(3 * hidden), np.empty(hidden)
    for n in range(nodes):
        h[:] = 0.0
        for t in range(length):
            for j in range(3 * hidden):
                gi[j], gh[j] = bi[n, 0, j], bh[n, 0, j]
            for i in range(inputs):
                for j in range(3 * hidden):
                    gi[j] += history[n, t, i] * wi[n, i, j]
            for k in range(hidden):
                for j in range(3 * hidden):
                    gh[j] += h[k] * wh[n, k, j]
            for k in range(hidden):
                reset = 1.0 / (1.0 + math.exp(-(gi[k] + gh[k])))
                update = 1.0 / (1.0 + math.exp(-(gi[hidden + k] + gh[hidden + k])))
                new = math.tanh(gi[2 * hidden + k] + reset * gh[2 * hidden + k])
                h[k] = new + update * (h[k] - new)
        for j in range(out.shape[1]):
            total = bo[n, 0, j]
            for k in range(hidden):
                total += h[k] * wo[n, k, j]
            out[n, j] = math.exp(min(max(offset[n, j] + total, -_BOUND), _BOUND))

"""Adam for stacked agents: N rows of parameters, each with its own count of steps.

One optimiser of a library would count steps for all rows together. Then a node that had nothing to
learn from for a while would drift on its old momentum, and a node that joins late would take steps
several times too large (the bias correction would be that of the others). Here a row that sits a
step out keeps everything as it was, so N stacked agents are N separate ones.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.kernels import kernel

__all__ = ["Adam", "copy_into", "views"]


class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1) on the rows of an (N, P) tensor."""

    def __init__(
        self,
        parameters: torch.Tensor,
        *,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self._parameters = parameters
        self._rate = learning_rate
        self._betas = (beta1, beta2)
        self._epsilon = epsilon
        self._fused = parameters.device.type == "cpu"
        self._mean = torch.zeros_like(parameters)
        self._square = torch.zeros_like(parameters)
        self._steps = torch.zeros(
            (len(parameters), 1), dtype=parameters.dtype, device=parameters.device
        )

    @torch.no_grad()
    def step(
        self,
        gradient: torch.Tensor,
        active: torch.Tensor,
        *,
        scale: float | torch.Tensor = 1.0,
    ) -> None:
        """Move the active rows against their gradient (N, P), in place.

        ``active`` (N,) boolean; ``scale`` multiplies the learning rate (annealing), as one number
        or row by row (N, 1).
        """
        beta1, beta2 = self._betas
        on = active.to(gradient.dtype).unsqueeze(1)
        self._steps += on
        steps = self._steps.clamp_min(1.0)
        rate = on * (scale * self._rate) / (1.0 - beta1**steps)
        spread = (1.0 - beta2**steps).sqrt()
        if self._fused:
            number = self._mean.numpy().dtype.type
            _fused(
                self._parameters.numpy(),
                gradient.contiguous().numpy(),
                self._mean.numpy(),
                self._square.numpy(),
                active.numpy(),
                rate.numpy(),
                spread.numpy(),
                number(1.0 - beta1),
                number(1.0 - beta2),
                number(self._epsilon),
            )
            return
        self._mean += (gradient - self._mean) * (on * (1.0 - beta1))
        self._square += (gradient.square() - self._square) * (on * (1.0 - beta2))
        root = self._square.sqrt() / spread + self._epsilon
        self._parameters -= rate * self._mean / root

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the moments (N, P) and the step counts (N, 1)."""
        parts = {"mean": self._mean, "square": self._square, "steps": self._steps}
        return {name: part.cpu().numpy().copy() for name, part in parts.items()}

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what :meth:`state` returned; InputError if it does not fit."""
        parts = {"mean": self._mean, "square": self._square, "steps": self._steps}
        for name, part in parts.items():
            copy_into(part, state, name)


@kernel
def _fused(
    parameters: NDArray[np.floating],
    gradient: NDArray[np.floating],
    mean: NDArray[np.floating],
    square: NDArray[np.floating],
    active: NDArray[np.bool_],
    rate: NDArray[np.floating],
    spread: NDArray[np.floating],
    keep_mean: float,
    keep_square: float,
    epsilon: float,
) -> None:
    """Take the step in one pass through memory, which is what a large stack waits for."""
    for row in range(parameters.shape[0]):
        if not active[row]:
            continue
        step, wide = rate[row, 0], spread[row, 0]
        for column in range(parameters.shape[1]):
            g = gradient[row, column]
            m = mean[row, column] + (g - mean[row, column]) * keep_mean
            v = square[row, column] + (g * g - square[row, column]) * keep_square
            mean[row, column], square[row, column] = m, v
            parameters[row, column] -= step * m / (np.sqrt(v) / wide + epsilon)


@torch.no_grad()
def copy_into(part: torch.Tensor, state: dict[str, NDArray[np.generic]], name: str) -> None:
    """Copy ``state[name]`` into a tensor; InputError if missing, misshapen or not finite."""
    if name not in state:
        raise InputError(f"state.{name} is missing")
    value = state[name]
    if value.shape != tuple(part.shape):
        raise InputError(f"state.{name} must have shape {tuple(part.shape)}, got {value.shape}")
    if not np.all(np.isfinite(np.asarray(value, dtype=np.float64))):
        raise InputError(f"state.{name} must be finite")
    part.copy_(torch.as_tensor(np.array(value), dtype=part.dtype))


def views(flat: torch.Tensor, shapes: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Open leaves that share the memory of ``flat`` (N, P), one (N, rows, columns) per shape."""
    leaves, at = [], 0
    for rows, columns in shapes:
        part = flat[:, at : at + rows * columns].view(len(flat), rows, columns)
        leaves.append(part.detach().requires_grad_())
        at += rows * columns
    return leaves

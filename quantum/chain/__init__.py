"""Repeater chains with a clock: one end-to-end pair after another, with waits, as kernels."""

from quantum.chain.play import Deliveries, Trajectories, deliver, play
from quantum.chain.results import Summary, as_batch, summary
from quantum.chain.setting import Setting

__all__ = [
    "Deliveries",
    "Setting",
    "Summary",
    "Trajectories",
    "as_batch",
    "deliver",
    "play",
    "summary",
]

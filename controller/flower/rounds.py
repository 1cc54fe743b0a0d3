"""The server's part of a round: changes of all nodes in, the next common weights out."""

from collections.abc import Callable

import numpy as np

from controller.federated import aggregate, participants, randomness
from controller.flower.plan import Plan
from controller.flower.site import State, learn_round
from quantum.errors import InputError
from quantum.ledger.state import Floats

__all__ = ["Average", "rounds_in_process"]


class Average:
    """The common weights, and how a round changes them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.current = plan.start()
        self.done = 0
        """Rounds so far."""

    def check(self, rows: Floats, wanted: int) -> None:
        """Refuse changes that are not ``wanted`` rows of float64 as long as the weights."""
        shape = (wanted, self.current.size)
        if rows.dtype != np.float64 or rows.shape != shape:
            raise InputError(
                f"changes must be {shape} of float64, got {rows.shape} of {rows.dtype}"
            )

    def close(self, rows: Floats) -> None:
        """Take the changes (n, P) of all nodes, in their order, and end the round."""
        plan = self._plan
        self.check(rows, len(rows))
        chosen = participants(len(rows), plan.participation, seed=plan.seed, round_index=self.done)
        self.current = aggregate(
            self.current,
            rows[chosen],
            clip_norm=plan.clip_norm,
            noise_multiplier=plan.noise_multiplier,
            expected_clients=plan.participation * len(rows),
            # Sites are real: noise that could be drawn again would protect nobody.
            rng=randomness(plan.seed if plan.noise_multiplier == 0.0 else None, self.done),
        )
        self.done += 1


def rounds_in_process(plan: Plan, *, progress: Callable[[int], None] = lambda _: None) -> Floats:
    """Play all rounds here, without sites and messages; return the weights (P,)."""
    average = Average(plan)
    kept: State = {}
    for number in range(plan.rounds):
        rows, kept = learn_round(plan, number, average.current, kept)
        average.close(rows)
        progress(average.done)
    return average.current

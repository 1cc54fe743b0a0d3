"""The analytic backend: exact states of whole batches, without a circuit simulator.

Where every state stays Bell-diagonal, or its local Bloch vectors can no longer be seen, three
correlators per pair are exact and the closed forms of :mod:`quantum.werner` do; otherwise the full
two-qubit states of :mod:`backends.pauli` are carried. Both are exact, amplitude damping included.
"""

import math

import numpy as np
from numpy.typing import NDArray

from backends import pauli
from backends.contract import Outcome, Plan, Truth
from backends.sampling import check_plan, sample
from quantum import bell, werner
from quantum.batch import Batch

__all__ = ["AnalyticBackend", "exact"]

Floats = NDArray[np.float64]


class AnalyticBackend:
    """Executes programs by formula. See :class:`backends.contract.Backend`."""

    name = "analytic"
    keeps = True

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Execute each program of the batch once for every shot of the plan."""
        check_plan(plan, len(batch))
        truth = exact(batch)
        return Outcome(counts=sample(truth, plan, rng), truth=truth, source="sim")

    def close(self) -> None:
        """Release nothing; safe to call twice."""


def exact(batch: Batch) -> Truth:
    """Return the exact end states of a batch.

    Populations are conditional on success; where success never happens they are those of the fully
    mixed state.
    """
    signed, success = (_closed_forms if correlators_suffice(batch) else _full_states)(batch)
    populations = np.where((success > 0.0)[:, None], bell.populations(signed), 0.25)
    return Truth(populations=np.clip(populations, 0.0, 1.0), success=success)


def correlators_suffice(batch: Batch) -> bool:
    """Whether three correlators per pair predict the end state exactly.

    Without relaxation they always do. With it, a wait leaves local Bloch vectors, which a second
    wait or DEJMPS turn into correlations, while a swap drops those of its right pair and BBPSSW
    twirls them away.
    """
    if math.isinf(batch.memory.t1_s):
        return True
    diagonal: set[int] = set()
    for kind, first, second in batch.skeleton:
        match kind:
            case "generate" | "bbpssw":
                diagonal.add(first)
            case "wait":
                if first not in diagonal:
                    return False
                diagonal.discard(first)
            case "dejmps":
                if not {first, second} <= diagonal:
                    return False
            case "swap":
                pass
    return True


def _closed_forms(batch: Batch) -> tuple[Floats, Floats]:
    """Walk the skeleton with correlators: (correlators ``(B, 3)``, success ``(B,)``)."""
    fresh = bell.correlators(batch.populations)
    success = np.ones(len(batch))
    pairs: dict[int, Floats] = {}
    made = waited = 0
    for kind, first, second in batch.skeleton:
        match kind:
            case "generate":
                pairs[first] = fresh[:, made]
                made += 1
            case "wait":
                left_s, right_s = batch.waits_s[:, waited, 0], batch.waits_s[:, waited, 1]
                pairs[first] = werner.wait(pairs[first], left_s, right_s, batch.memory)
                waited += 1
            case "swap":
                pairs[first] = werner.swap(pairs[first], pairs.pop(second), batch.gates)
                success = success * batch.gates.success
            case "dejmps" | "bbpssw":
                distill = werner.dejmps if kind == "dejmps" else werner.bbpssw
                pairs[first], chance = distill(pairs[first], pairs.pop(second), batch.gates)
                success = success * chance
    return pairs[batch.last_pair], success


def _full_states(batch: Batch) -> tuple[Floats, Floats]:
    """Walk the skeleton with full states: (correlators ``(B, 3)``, success ``(B,)``)."""
    fresh = bell.correlators(batch.populations)
    success = np.ones(len(batch))
    pairs: dict[int, Floats] = {}
    made = waited = 0
    for kind, first, second in batch.skeleton:
        match kind:
            case "generate":
                pairs[first] = pauli.from_correlators(fresh[:, made])
                made += 1
            case "wait":
                left_s, right_s = batch.waits_s[:, waited, 0], batch.waits_s[:, waited, 1]
                pairs[first] = pauli.wait(pairs[first], left_s, right_s, batch.memory)
                waited += 1
            case "swap":
                pairs[first] = pauli.swap(pairs[first], pairs.pop(second), batch.gates)
                success = success * batch.gates.success
            case "dejmps":
                pairs[first], chance = pauli.dejmps(pairs[first], pairs.pop(second), batch.gates)
                success = success * chance
            case "bbpssw":
                signed, chance = werner.bbpssw(
                    pauli.correlators(pairs[first]),
                    pauli.correlators(pairs.pop(second)),
                    batch.gates,
                )
                pairs[first] = pauli.from_correlators(signed)
                success = success * chance
    return pauli.correlators(pairs[batch.last_pair]), success

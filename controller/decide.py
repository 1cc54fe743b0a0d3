"""The decision of a node, as one kernel: what it sees in, which link gets its token out.

The same kernel serves agents in their processes and the twin, and it works node by node, so a
node decides the same wherever it is computed. Every candidate has the twelve features below; the
base score is the tuned mean-rate heuristic's, and the policy adds its residual to it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.policy import Actor, logits, pick
from quantum.draws import uniform
from quantum.kernels import Table, kernel
from quantum.ledger.generate import score_links, surplus_of, urgency_of
from quantum.ledger.observe import FORECAST, PEER_BUCKET, PEER_FILL, STOCK, WANTED
from quantum.ledger.state import TIES, Floats, Ints, Rule
from quantum.seeding import stream

__all__ = ["FEATURES", "IDLE", "Memory", "decide", "new_memory", "see"]

#: What the policy knows of a candidate link, in this order.
FEATURES = (
    "gap to the target",
    "gap relative to the target",
    "stock",
    "neighbour's memory in use",
    "own memory in use",
    "neighbour's generation rate",
    "neighbour's swap bucket",
    "neighbour's swap capacity",
    "gap to the forecast",
    "gap relative to the forecast",
    "claims that lack a pair",
    "no stock",
)
#: Base score of doing nothing, or one less than the worst link: the heuristic never idles.
IDLE = -8.0
POLICY = stream("policy")


class Memory(NamedTuple):
    """Decisions of N nodes since the last update, M at most; see ``controller.rollout``."""

    features: Floats  # (N, M, C, F)
    mask: NDArray[np.bool_]  # (N, M, C)
    base: Floats  # (N, M, C)
    action: Ints  # (N, M)
    log_probability: Floats  # (N, M)
    reward: Floats  # (N, M)
    slot: Ints  # (N, M)
    taken: Ints  # (N,) decisions remembered
    pending: Floats  # (N,) reward since the last decision


def new_memory(nodes: int, steps: int, candidates: int) -> Memory:
    """Return an empty memory."""
    shape = (nodes, steps, candidates)
    return Memory(
        features=np.zeros((*shape, len(FEATURES))),
        mask=np.zeros(shape, dtype=np.bool_),
        base=np.zeros(shape),
        action=np.zeros((nodes, steps), dtype=np.int64),
        log_probability=np.zeros((nodes, steps)),
        reward=np.zeros((nodes, steps)),
        slot=np.zeros((nodes, steps), dtype=np.int64),
        taken=np.zeros(nodes, dtype=np.int64),
        pending=np.zeros(nodes),
    )


@kernel
def _describe(
    rule: Rule,
    fixed: Table,
    links: Ints,
    peers: Ints,
    degree: int,
    slot_s: float,
    fill: float,
    view: Floats,
    features: Floats,
) -> None:
    """Write the features of every candidate; padding and idle stay zero."""
    features[:] = 0.0
    for k in range(degree):
        peer, x = fixed[peers[k]], features[k]
        target, stock, soon = rule.targets[links[k]], view[k, STOCK], view[k, FORECAST]
        x[0], x[1] = target - stock, (target - stock) / (target + 0.3)
        x[2], x[3], x[4] = 0.3 * stock, view[k, PEER_FILL], fill
        x[5], x[6] = 0.1 * peer.generation / slot_s, view[k, PEER_BUCKET]
        x[7] = 0.2 * peer.bucket
        x[8], x[9] = soon - stock, (soon - stock) / (soon + 0.3)
        x[10] = 0.25 * max(0.0, view[k, WANTED] - stock)
        x[11] = 1.0 if stock <= 0.0 else 0.0


@kernel
def see(
    rule: Rule,
    fixed: Table,
    links: Ints,
    peers: Ints,
    degree: int,
    slot_s: float,
    fill: int,
    room: int,
    ties: float,
    view: Floats,
    scores: Floats,
    features: Floats,
    mask: NDArray[np.bool_],
    base: Floats,
) -> None:
    """Write what a node knows of its candidates for one token, idle being the last.

    ``links`` and ``peers`` (K,) of the node, ``fill`` of its ``room`` qubits are in use, ``ties``
    in [0, 1) breaks ties, ``view`` (K, 7). Written: ``scores`` (K,), ``features`` (K + 1, F),
    ``mask`` and ``base`` (K + 1,).
    """
    width = len(scores)
    score_links(rule, links, degree, fill >= room, view, scores)
    for k in range(width):
        mask[k] = scores[k] > -np.inf
        base[k] = scores[k] + 1e-6 * ties * k if mask[k] else 0.0
    mask[width], base[width] = True, IDLE
    for k in range(width):
        if mask[k]:
            base[width] = min(base[width], base[k] - 1.0)
    _describe(rule, fixed, links, peers, degree, slot_s, fill / room, view, features)


@kernel
def decide(
    rule: Rule,
    fixed: Table,
    inc_link: Ints,
    inc_node: Ints,
    slot_s: float,
    seed: int,
    slot: int,
    nodes: Ints,
    local: Ints,
    tokens: Ints,
    fill: Ints,
    views: Floats,
    actor: Actor,
    temperature: float,
    learn: bool,
    memory: Memory,
    choice: Ints,
    urgency: Floats,
    yields: Ints,
    surplus: Floats,
) -> None:
    """Decide for the B nodes of a look.

    ``nodes`` (B,) and ``local`` (B,) their rows in ``actor`` and ``memory``; ``tokens``, ``fill``
    (B,), ``views`` (B, K, 7). Written: ``choice`` (B, T) positions, -1 idle; ``urgency`` (B, T);
    ``yields`` (B,) position or -1; ``surplus`` (B,). With ``learn`` the policy explores and the
    decisions are remembered; without it takes the most probable candidate.
    """
    width = inc_link.shape[1]
    scores, base = np.empty(width), np.empty(width + 1)
    mask = np.zeros(width + 1, dtype=np.bool_)
    out, features = np.empty(width + 1), np.zeros((width + 1, memory.features.shape[3]))
    for b in range(len(nodes)):
        node, me, view = nodes[b], local[b], views[b]
        degree, links = fixed[node].degree, inc_link[node]
        room = fixed[node].qubits
        yields[b], surplus[b] = -1, -1e18
        if fill[b] >= room - 1:
            yields[b], surplus[b] = surplus_of(rule, links, degree, view)
        for number in range(tokens[b]):
            ties = uniform(seed, TIES, node, slot, number)
            see(
                rule,
                fixed,
                links,
                inc_node[node],
                degree,
                slot_s,
                fill[b],
                room,
                ties,
                view,
                scores,
                features,
                mask,
                base,
            )
            logits(actor.w1, actor.b1, actor.w2, me, features, mask, base, temperature, out)
            draw = uniform(seed, POLICY, node, slot, number) if learn else -1.0
            action, log_probability = pick(out, mask, draw)
            if learn:
                _remember(memory, me, slot, features, mask, base, action, log_probability)
            choice[b, number] = -1
            if action < width:
                choice[b, number] = action
                urgency[b, number] = urgency_of(rule, links[action], view, action)
                view[action, STOCK] += 1.0


@kernel
def _remember(
    memory: Memory,
    me: int,
    slot: int,
    features: Floats,
    mask: NDArray[np.bool_],
    base: Floats,
    action: int,
    log_probability: float,
) -> None:
    """Append a decision; the reward that came since the one before belongs to that one."""
    step = memory.taken[me]
    if step > 0:
        memory.reward[me, step - 1] += memory.pending[me]
    # What comes before the first decision after an update belongs to none that is remembered.
    memory.pending[me] = 0.0
    if step == memory.features.shape[1]:
        return
    memory.features[me, step], memory.mask[me, step] = features, mask
    memory.base[me, step], memory.action[me, step] = base, action
    memory.log_probability[me, step], memory.slot[me, step] = log_probability, slot
    memory.reward[me, step] = 0.0
    memory.taken[me] = step + 1

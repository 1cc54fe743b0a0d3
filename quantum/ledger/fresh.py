"""A fresh ledger: empty memories, full swap buckets, and room for what a run needs."""

import numpy as np

from quantum.kernels import table
from quantum.ledger.prices import believe
from quantum.ledger.state import ACTION_TOKENS, MAX_HOPS, RAW, Ints, Ledger, World

__all__ = ["new_ledger"]

#: A link pair in a composite; slots in which its qubits were measured, -1 while they wait.
_LEAF = {"link": int, "birth": int, "maker": int, "left": int, "right": int, "truth": (float, 3)}
#: How a distilled pair came to be.
_HISTORY = {
    "kept": int,  # slots that the pair that was kept had waited by then
    "spent": int,  # and the pair that was spent for it; -1: not distilled
    "spent_maker": int,
    "belief": (float, 3),  # correlators at ``birth``, as the controllers believe
}


def new_ledger(
    world: World,
    *,
    delay_slots: Ints | None = None,
    events: int = 4096,
    composites: bool = False,
) -> Ledger:
    """Return the ledger before the first slot: empty memories, full swap buckets.

    ``delay_slots`` (R,) is how long after its arrival (or announcement) a request becomes known to
    whoever decides; at least one slot. ``events`` is how many assembled pairs can be remembered
    until they are taken; 0 where nobody takes them. ``composites`` keeps room for pairs that are
    swapped before they are delivered, see :mod:`quantum.ledger.acts`.
    """
    n, m, requests = world.n, world.m, len(world.request)
    places = int(world.node.qubits.sum()) // 2 + 1
    delay = np.ones(requests, dtype=np.int64) if delay_slots is None else np.maximum(1, delay_slots)
    node = table(
        n,
        used=int,  # qubits in use
        swap_tokens=float,
        swaps=int,  # swap tokens spent
        tokens=int,  # generation tokens of this slot
        yields=int,  # action: position of the link whose oldest pair goes first, -1 none
        surplus=float,  # action: how little that pair would be missed
        claims=int,  # live requests that want to swap here
        price=float,  # cost of a swap here, in a path search
        up=int,  # whether the node is there
        given=float,  # swap tokens that came with joining the network
        saved=float,  # swap tokens, while requests share them out
        unclaimed=float,  # swap tokens that the claims of this slot have left
    )
    node.swap_tokens, node.yields, node.up = world.node.bucket, -1, 1
    # In this order a search for claims reads the first 64 bytes of a link, one for stock the rest.
    link = table(
        m,
        stock=int,  # stored pairs as they were made
        wanted=float,  # pairs that live requests need
        open=int,  # whether it makes pairs: it and both its ends are up
        fresh_loss=float,  # -log of the mean correlator of a fresh pair
        belief=(float, 3),  # correlators of a fresh pair, as the controllers believe
        priced=int,  # slot in which price, loss and corr were worked out from stock
        price=float,
        loss=float,  # -log of the mean correlator
        corr=(float, 3),  # correlators that the path search counts on
        oldest=int,  # place of its oldest pair as it was made; -1 none
        youngest=int,
        forecast=float,  # pairs expected to be asked soon
        claims=int,
        refined=int,  # stored pairs that were distilled
        wanted_refined=float,  # distilled pairs that live requests need
        distilled=int,  # distillations so far
        best=int,  # place of its best pair, while serving; -1 none
    )
    link.open = 1
    # What searches need not see, so that a link stays small.
    behind = table(
        m,
        up=int,  # whether the link works
        stock=int,  # what the link has, while its queue is what a decider has heard of
        oldest=int,
        youngest=int,
    )
    behind.up = 1
    link.belief, link.priced, link.oldest, link.youngest = world.belief[0], -1, -1, -1
    # Behind the places are those of pairs that were taken lately.
    pair = table(
        places + world.ghosts,
        u=int,  # -1 where the place is free
        v=int,
        birth=int,  # slot in which it was made, or distilled
        old=int,  # slot in which the oldest pair in it was made; the cutoff counts from here
        link=int,
        maker=int,  # node whose token made it
        truth=(float, 3),  # correlators at ``birth``
        older=int,  # place of the next older and younger pair of the link, -1 none
        younger=int,
        before=int,  # place of the previous and next pair as old as it, -1 none
        after=int,
        free=int,  # stack of free places; its height is now.free
        owner=int,  # class that it was swapped ahead for, -1 none
        **_HISTORY,
    )
    pair.u, pair.free = -1, np.arange(places + world.ghosts)
    request = table(
        requests,
        visible=int,  # slot from which the controller knows it
        order=int,  # requests in the order in which they become visible
        left=int,  # pairs still to deliver
        good=int,  # delivered with the fidelity asked
        quality=float,  # true fidelity, summed over delivered pairs
        attempts=int,  # assembled pairs
        asked=int,  # whether its node has asked for it; only then it is served
        claimed=int,  # links of its claim
        search=int,  # slot from which a better claim is looked for
        claim=(int, MAX_HOPS),  # last link first
    )
    request.visible = world.request.told + delay
    request.order = np.argsort(request.visible, kind="stable")
    request.left, request.asked = world.request.pairs, 1
    now = table(
        1,
        clock=int,
        free=int,
        live=int,
        next_visible=int,
        next_arrival=int,
        events=int,
        claimants=int,
        shared=int,  # resources that two or more live requests want
        swept=int,  # slot up to which all births are dropped
        search=int,  # number of the last mark of a path search
        next_change=int,
        ghosts=int,  # pairs that were taken, ever
        hidden=int,  # 1 while queues are what a decider has heard of
        row=int,  # whose ages count meanwhile
        haunting=int,  # first ghost that stands in a queue, -1 none
    )
    now.free, now.haunting = places, -1
    event = table(
        events,
        kind=int,
        request=int,  # or the node of a link test
        slot=int,
        attempt=int,
        hops=int,
        links=(int, MAX_HOPS),  # in the order of the chain
        ages=(int, MAX_HOPS),  # slots that each pair waited, at its end towards the source
        ages_right=(int, MAX_HOPS),  # and at its other end
        births=(int, MAX_HOPS),  # slot in which each pair was made, or distilled
        makers=(int, MAX_HOPS),  # node whose token made each pair
        kept=(int, MAX_HOPS),  # slots that the two pairs of a distilled one waited before
        spent=(int, MAX_HOPS),  # -1 where a pair was not distilled
        spent_makers=(int, MAX_HOPS),
        swaps=(int, MAX_HOPS),  # swap nodes, one less than links
        corr=(float, 3),  # true correlators of the assembled pair
        true=float,  # fidelity
        believed=float,
    )
    mark = table(
        n,
        reached=int,  # number of the search's layer that has a label here
        label=int,
        expanded=int,  # number of the search that went on from here
        cost=float,  # at which it did
    )
    label = table(
        (MAX_HOPS + 1) * n + 1,
        node=int,
        via=int,  # link by which it came
        before=int,  # label from which it came
        cost=float,
        c0=float,  # correlators so far
        c1=float,
        c2=float,
    )
    # Of searches from both ends: from the source and from the destination.
    side = table(
        n,
        via=(int, 2),  # link by which it came here
        cost=(float, 2),  # at this cost, a swap here included in the one from the source
    )
    past = table(
        (1 + world.peer_age.max() if len(world.peer_age) else 0, n), used=int, tokens=float
    )
    past.tokens = world.node.bucket
    width = max(1, int(world.node.qubits.max()))
    rows = len(pair) + 1 if composites else 0
    ledger = Ledger(
        now=now,
        node=node,
        link=link,
        pair=pair,
        request=request,
        queue=table(requests + 1, live=int, claimant=int),
        held=np.zeros((n, width), np.int64),
        use=np.zeros(world.inc_link.shape),
        totals=np.zeros(16, np.int64),
        waits=np.zeros(_longest_wait(world) + 1, np.int64),
        choice=np.full((n, ACTION_TOKENS), -1, np.int64),
        urgency=np.zeros((n, ACTION_TOKENS)),
        made=np.full((n, ACTION_TOKENS), -1, np.int64),
        event=event,
        chain=np.zeros(MAX_HOPS, np.int64),
        lasting=np.zeros(MAX_HOPS, np.int64),
        ready=table(
            len(world.cls),
            pairs=int,  # that wait
            free=int,  # of these, while requests share them out
        ),
        ring=np.full(world.cutoff + 2, -1, np.int64),
        mark=mark,
        label=label,
        seen=np.zeros((n, 2), np.int64),
        side=side,
        front=table((2, 2 * m + 2), node=int, cost=float),
        sight=np.zeros((world.inc_link.shape[1], RAW)),
        scores=np.zeros(world.inc_link.shape[1]),
        product=np.zeros((4, 3)),
        leaf=table((rows, MAX_HOPS), **_LEAF, **_HISTORY),
        leaves=np.zeros(rows, np.int64),
        behind=behind,
        ghost=table(world.ghosts, slot=int, source=int, told=int, next=int, stands=int),
        past=past,
        reach=np.ones(MAX_HOPS + 1),
    )
    believe(world, ledger)
    return ledger


def _longest_wait(world: World) -> int:
    spans = world.request.deadline - world.request.arrival
    return int(spans.max(initial=0))

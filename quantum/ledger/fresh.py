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
    # Lines of 64 bytes: searches and neighbours that look read the first one only.
    node = table(
        n,
        swap_tokens=float,
        swap_rate=float,  # as the world has it, and the next two
        bucket=float,
        qubits=int,
        used=int,  # qubits in use
        tokens=int,  # generation tokens of this slot
        up=int,  # whether the node is there
        yields=int,  # action: position of the link whose oldest pair goes first, -1 none
        price=float,  # cost of a swap here, where a search takes prices as they stand
        surplus=float,  # action: how little that pair would be missed
        claims=int,  # live requests that want to swap here
        swaps=int,  # swap tokens spent
        given=float,  # swap tokens that came with joining the network
        saved=float,  # swap tokens, while requests share them out
        unclaimed=float,  # swap tokens that the claims of this slot have left
        spare=int,
    )
    node.swap_rate, node.bucket = world.node.swap_rate, world.node.bucket
    node.qubits = world.node.qubits
    node.swap_tokens, node.yields, node.up = world.node.bucket, -1, 1
    # Lines: nodes and searches for claims read the first one, searches for stock the second.
    link = table(
        m,
        stock=int,  # stored pairs as they were made
        wanted=float,  # pairs that live requests need
        open=int,  # whether it makes pairs: it and both its ends are up
        fresh_loss=float,  # -log of the mean correlator of a fresh pair
        refined=int,  # stored pairs that were distilled
        forecast=float,  # pairs expected to be asked soon
        first=int,  # births of its oldest and youngest pair, as long as it has any
        made_hz=float,  # as the world has it
        last=int,
        priced=int,  # slot in which price, loss and corr were worked out from stock
        price=float,
        loss=float,  # -log of the mean correlator
        corr=(float, 3),  # correlators that the path search counts on
        oldest=int,  # place of its oldest pair as it was made; -1 none
        youngest=int,
        belief=(float, 3),  # correlators of a fresh pair, as the controllers believe
        claims=int,
        wanted_refined=float,  # distilled pairs that live requests need
        distilled=int,  # distillations so far
        best=int,  # place of its best pair, while serving; -1 none
    )
    link.open, link.made_hz = 1, world.link.made_hz
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
        owner=int,  # row of ``ready`` that it was swapped ahead for, -1 none
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
        least=float,  # what the path of the last search from both ends costs
        soon=int,  # two nodes of which requests are as good as sure, see ``ready``
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
        seen=(int, 2),  # number of the search that came here last
        cost=(float, 2),  # at this cost, a swap here included in the one from the source
        via=(int, 2),  # by this link
        spare=(int, 2),
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
        # Of a class; behind the classes, in the place of their first one, of all of two nodes.
        ready=table(
            2 * len(world.cls),
            pairs=int,  # that wait
            free=int,  # of these, while requests share them out
            row=int,  # strictest class of the k-th two nodes of which requests are as good as sure
            soon=int,  # pairs that should wait for them
        ),
        # A line: all that searches by layers and breadth-first ones note of a node.
        fan=table(
            n,
            count=int,  # stored pairs lead from here to so many neighbours
            able=int,  # whether it has a swap token
            seen=(int, 2),  # mark of the breadth-first search from either end that came here last
            reached=int,  # number of the search's layer that has a label here
            label=int,
            expanded=int,  # number of the search that went on from here
            cost=float,  # at which it did
        ),
        lead=table(world.lead.shape, node=np.int32, link=np.int32),
        vain=table(
            len(world.cls),
            search=int,  # number of the last search that no chain of stored pairs answered
            hops=int,  # though it might have had so many links
            tried=int,  # number of the last search that found none good enough
            free=int,  # when so many places were free
        ),
        sought=table(
            len(world.cls),
            search=int,  # number of the last search for a claim
            slack=int,  # what it was asked
            known=float,
            length=int,  # what it found
            chain=(int, MAX_HOPS),
        ),
        ring=np.full(world.cutoff + 2, -1, np.int64),
        label=label,
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

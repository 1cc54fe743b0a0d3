"""What a decider has heard of: stored pairs count only when word of them has come.

``world.age[row, link]`` is how many slots word of a link needs to the decider of a row, the one
controller or the source of a request (``world.cls.heard``). While a decider looks (:func:`hide`
until :func:`show`), pairs that are younger are not in the queues of the links, and pairs that were
taken so recently that it has not heard of it still are: places behind those of the ledger
(*ghosts*). A claim of one of these fails. All this is passed over where every age is 0.
"""

from quantum.kernels import lean, small
from quantum.ledger.places import unlink
from quantum.ledger.state import FAILED, FAILED_NODES, Ledger, World

__all__ = ["fails", "hide", "is_heard", "listen", "listen_for", "remember", "show"]


@lean
def remember(ledger: Ledger, place: int, source: int) -> None:
    """Note that a pair is about to be taken, by a source or (-1) by a node.

    To be called only where there are ghosts: sources decide for themselves and word takes time.
    """
    size, now, pairs = len(ledger.ghost), ledger.now[0], ledger.pair
    if pairs[place].link < 0 or pairs[place].spent >= 0:
        return
    number = now.ghosts % size
    ghost, image = ledger.ghost[number], pairs[len(pairs) - size + number]
    if ghost.stands == 1:
        return
    now.ghosts += 1
    ghost.slot, ghost.source, ghost.told = now.clock, source, -1
    image.link, image.birth, image.old = pairs[place].link, pairs[place].birth, pairs[place].old
    image.spent = -1


@lean
def listen(world: World, ledger: Ledger, request: int, row: int) -> int:
    """Let the queues be what the decider of a request has heard of; ``row`` is the one before.

    Returns the row of its ages. The first has -1 before it; after the last one call :func:`show`.
    Not to be called where all ages are 0.
    """
    return int(listen_for(world, ledger, world.request[request].cls, row))


@lean
def listen_for(world: World, ledger: Ledger, cls: int, row: int) -> int:
    """Do as :func:`listen` for the source of a class."""
    heard = world.cls[cls].heard
    if heard != row:
        if row >= 0:
            show(world, ledger)
        hide(world, ledger, heard)
    return int(heard)


@lean
def hide(world: World, ledger: Ledger, row: int) -> None:
    """Let the queues of all links be what the decider of a row has heard of."""
    slot, longest = ledger.now[0].clock, 0
    if len(ledger.ghost) > 0:
        for number in range(world.m):
            longest = max(longest, world.age[row, number])
        for back in range(min(len(ledger.ghost), ledger.now[0].ghosts)):
            number = (ledger.now[0].ghosts - 1 - back) % len(ledger.ghost)
            if ledger.ghost[number].slot <= slot - longest:
                break
            _appear(world, ledger, row, number)
    for number in range(world.m):
        _hide_link(world, ledger, row, number)
    ledger.now[0].hidden, ledger.now[0].row = 1, row


@lean
def show(world: World, ledger: Ledger) -> None:
    """Let the queues of all links be what they are, if anything is hidden."""
    if ledger.now[0].hidden == 0:
        return
    ledger.now[0].hidden = 0
    for number in range(world.m):
        link, whole = ledger.link[number], ledger.behind[number]
        link.stock, link.oldest, link.youngest = whole.stock, whole.oldest, whole.youngest
        _note_births(ledger, number)
        link.priced = -1
    first = len(ledger.pair) - len(ledger.ghost)
    while ledger.now[0].haunting >= 0:
        number = ledger.now[0].haunting
        ledger.now[0].haunting = ledger.ghost[number].next
        ledger.ghost[number].stands = 0
        place = first + number
        unlink(ledger.link[ledger.pair[place].link], ledger.pair, place)


@lean
def _appear(world: World, ledger: Ledger, row: int, number: int) -> None:
    """Put a taken pair back into the queue of its link, for a decider who knows no better."""
    pairs, ghost, slot = ledger.pair, ledger.ghost[number], ledger.now[0].clock
    place = len(pairs) - len(ledger.ghost) + number
    birth, age = pairs[place].birth, world.age[row, pairs[place].link]
    if ghost.source == row or ghost.told == row or ghost.slot <= slot - age:
        return
    if birth > slot - age or birth < slot - world.cutoff:
        return
    link = ledger.link[pairs[place].link]
    younger, older = -1, link.youngest
    while older >= 0 and pairs[older].birth > birth:
        younger, older = older, pairs[older].older
    pairs[place].older, pairs[place].younger = older, younger
    if older >= 0:
        pairs[older].younger = place
    else:
        link.oldest, link.first = place, birth
    if younger >= 0:
        pairs[younger].older = place
    else:
        link.youngest, link.last = place, birth
    link.stock += 1
    ghost.next, ledger.now[0].haunting = ledger.now[0].haunting, number
    ghost.stands = 1


@lean
def _hide_link(world: World, ledger: Ledger, row: int, number: int) -> None:
    """Leave out the pairs of a link that are too young to be heard of."""
    link, whole, pairs = ledger.link[number], ledger.behind[number], ledger.pair
    newest = ledger.now[0].clock - world.age[row, number]
    whole.stock, whole.oldest, whole.youngest = link.stock, link.oldest, link.youngest
    while link.youngest >= 0 and pairs[link.youngest].birth > newest:
        link.youngest = pairs[link.youngest].older
        link.stock -= 1
    if link.youngest < 0:
        link.oldest = -1
    _note_births(ledger, number)
    link.priced = -1


@small
def _note_births(ledger: Ledger, number: int) -> None:
    """Note when the oldest and the youngest pair of a link that show were made."""
    link = ledger.link[number]
    if link.youngest >= 0:
        link.first, link.last = ledger.pair[link.oldest].birth, ledger.pair[link.youngest].birth


@lean
def is_heard(world: World, ledger: Ledger, place: int) -> bool:
    """Tell whether the decider who looks has heard of a stored pair."""
    if ledger.now[0].hidden == 0:
        return True
    pair = ledger.pair[place]
    return bool(pair.birth + world.age[ledger.now[0].row, pair.link] <= ledger.now[0].clock)


@lean
def fails(ledger: Ledger, row: int, length: int) -> bool:
    """Tell whether the chain in ``ledger.chain`` counts on a pair that is gone, and count it.

    The decider of the row is told of the first such pair and will not count on it again.
    """
    first = len(ledger.pair) - len(ledger.ghost)
    for back in range(length):
        if ledger.chain[back] >= first:
            ledger.ghost[ledger.chain[back] - first].told = row
            ledger.totals[FAILED] += 1
            ledger.totals[FAILED_NODES] += length + 1
            return True
    return False

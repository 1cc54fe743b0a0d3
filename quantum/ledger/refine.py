"""Distillation: two stored pairs of one link become one better pair, or none.

DEJMPS (Deutsch et al., PRL 77, 2818, 1996) on pairs that were made Bell-diagonal and then waited at
both ends. Amplitude damping gives such a pair local terms, <ZI> = <IZ> = g, beside its correlators.
They do not matter: the rotations turn them into <YI> and <IY>; followed back through the two CNOTs,
every Pauli product of the kept pair, alone or with the ZZ of the herald, asks the spent pair for
one of {II, XI, IX, XX} or {YY, YZ, ZY, ZZ}, and the kept pair for a local term only together with
one of {XI, IX, YZ, ZY}, which no such pair has. So the closed form in correlators is exact, the
better pair is Bell-diagonal again, and it decays from then on like a fresh one: a pair of the
ledger is its correlators at ``birth``, the slot in which it was made or distilled.
"""

import numpy as np

from quantum.kernels import kernel
from quantum.ledger.places import take, value_now
from quantum.ledger.state import DISTIL, DISTILLED, SPOILED, Floats, Ledger, Rule, World
from quantum.seeding import uniform

__all__ = ["dejmps", "distil", "refine"]

#: A herald less likely than this is rounding: it never happens.
IMPOSSIBLE = 1e-12


@kernel
def dejmps(keep: Floats, spend: Floats, both: float, flips: float, out: Floats) -> float:
    """Distil correlators (3,) into ``out`` (3,) and return the chance of equal bits.

    ``both`` is (1-p)^2 of the two noisy CNOTs and ``flips`` (1-2e)^2 of the two bits compared. As
    :func:`quantum.werner.dejmps`, for the loops of the ledger; where equal bits never occur, all
    is 0.
    """
    equal = (1.0 + both * flips * keep[1] * spend[1]) / 2.0
    if equal <= IMPOSSIBLE:
        out[:] = 0.0
        return 0.0
    half = both / (2.0 * equal)
    xx = half * (keep[0] * spend[0] + flips * keep[2] * spend[2])
    yy = half * (keep[2] * spend[0] + flips * keep[0] * spend[2])
    zz = half * (keep[1] + flips * spend[1])
    out[0], out[1], out[2] = xx, yy, zz
    return equal


@kernel
def distil(world: World, ledger: Ledger, keep: int, spend: int) -> bool:
    """Distil the stored pair ``spend`` into ``keep``, both fresh ones of one link; True: it worked.

    The herald is drawn by (link, slot, attempt in it) against the exact chance. On failure both
    pairs are gone.
    """
    slot, decay = ledger.now[0].clock, world.decay
    kept, spent = ledger.pair[keep], ledger.pair[spend]
    link = ledger.link[kept.link]
    both, flips = world.distil[0], world.distil[1]
    a, b, out = np.empty(3), np.empty(3), np.empty(3)
    for axis in range(3):
        a[axis] = value_now(link.belief[axis], axis, decay[slot - kept.birth])
        b[axis] = value_now(link.belief[axis], axis, decay[slot - spent.birth])
    dejmps(a, b, both, flips, out)
    kept.belief[0], kept.belief[1], kept.belief[2] = out[0], out[1], out[2]
    for axis in range(3):
        a[axis] = value_now(kept.truth[axis], axis, decay[slot - kept.birth])
        b[axis] = value_now(spent.truth[axis], axis, decay[slot - spent.birth])
    chance = dejmps(a, b, both, flips, out)
    if link.refined_slot != slot:
        link.refined_slot, link.attempts = slot, 0
    draw = uniform(world.seed, DISTIL, kept.link, slot, link.attempts)
    link.attempts += 1
    made, maker = spent.birth, spent.maker
    take(ledger, spend)
    if draw >= chance:
        take(ledger, keep)
        ledger.totals[SPOILED] += 1
        return False
    kept.truth[0], kept.truth[1], kept.truth[2] = out[0], out[1], out[2]
    kept.kept, kept.spent, kept.spent_maker = kept.birth, made, maker
    kept.old, kept.birth = min(kept.birth, made), slot
    link.refined += 1
    ledger.totals[DISTILLED] += 1
    return True


@kernel
def refine(world: World, ledger: Ledger, rule: Rule) -> None:
    """Distil where live requests claim better pairs, or where stock of them is planned.

    Always the two youngest pairs that were not distilled yet: what comes out is best, and old ones
    still do for those who ask for less.
    """
    links = ledger.link
    planned = len(rule.refined) > 0
    for number in range(world.m):
        link = links[number]
        while link.stock - link.refined >= 2:
            missing = link.wanted_refined
            if planned:
                missing = max(missing, rule.refined[number])
            if link.refined + (0.0 if link.wanted_refined > link.refined else rule.eager) >= missing:
                break
            keep, spend = two_youngest(ledger, world.link[number].a, number)
            distil(world, ledger, keep, spend)


@kernel
def two_youngest(ledger: Ledger, node: int, link: int) -> tuple[int, int]:
    """Return the places of the two youngest pairs of a link that were not distilled."""
    first, second = -1, -1
    pairs = ledger.pair
    for position in range(ledger.node[node].used):
        place = ledger.held[node, position]
        if pairs[place].link != link or pairs[place].spent >= 0:
            continue
        if first < 0 or pairs[place].birth > pairs[first].birth:
            first, second = place, first
        elif second < 0 or pairs[place].birth > pairs[second].birth:
            second = place
    return first, second

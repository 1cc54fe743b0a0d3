"""Distillation: two stored pairs of one link become one better pair, or none.

DEJMPS (Deutsch et al., PRL 77, 2818, 1996) on pairs that were Bell-diagonal once and have waited at
both ends since. Amplitude damping gives such a pair local terms, <ZI> = <IZ> = g, beside its
correlators. They do not matter. The rotations turn them into <YI> and <IY>; what is left is
followed back through the two CNOTs. There every product of Paulis that comes out asks the pair that
is spent for one of II, XI, IX, XX, or with the ZZ of the herald for one of ZZ, YZ, ZY, YY, and it
asks the pair that is kept for a local term only together with XI, IX, YZ or ZY, which a pair of
this kind does not have. So the closed form in correlators is exact, a distilled pair is
Bell-diagonal, and from then on it decays like a fresh one. Every pair of the ledger is its
correlators in the slot ``birth``, in which it was made or distilled.
"""

from quantum.draws import uniform
from quantum.kernels import lean
from quantum.ledger.heard import remember
from quantum.ledger.places import believed_now, step_out, take, value_now
from quantum.ledger.state import (
    DISTIL,
    DISTILLED,
    SPOILED,
    Floats,
    Ledger,
    Rule,
    World,
    seed_at,
)

__all__ = ["dejmps", "distil", "refine"]

#: A herald less likely than this is rounding: it never happens.
IMPOSSIBLE = 1e-12


@lean
def dejmps(noise: Floats, keep: Floats, spend: Floats, out: Floats) -> float:
    """Distil correlators (3,) into ``out`` (3,) and return the chance of equal bits.

    As :func:`quantum.werner.dejmps`, for the loops of the ledger. ``noise`` (2,) is (1-p)^2 of the
    two noisy CNOTs and (1-2e)^2 of the two bits compared. Where equal bits never occur, all is 0.
    """
    both, flips = noise[0], noise[1]
    equal = (1.0 + both * flips * keep[1] * spend[1]) / 2.0
    if equal <= IMPOSSIBLE:
        out[:] = 0.0
        return 0.0
    xx = keep[0] * spend[0] + flips * keep[2] * spend[2]
    yy = keep[2] * spend[0] + flips * keep[0] * spend[2]
    zz = keep[1] + flips * spend[1]
    half = both / (2.0 * equal)
    out[0], out[1], out[2] = half * xx, half * yy, half * zz
    return equal


@lean
def distil(world: World, ledger: Ledger, number: int) -> bool:
    """Distil the two youngest pairs of a link that were not distilled; True: it worked.

    The older one is kept, and its age counts for the cutoff; on failure both are gone. The n-th
    distillation of a link has the same luck for every allocator.
    """
    link, slot, decay, work = ledger.link[number], ledger.now[0].clock, world.decay, ledger.product
    spend = link.youngest
    keep = ledger.pair[spend].older
    one, other = ledger.pair[keep], ledger.pair[spend]
    first, second = decay[slot - one.birth], decay[slot - other.birth]
    for axis in range(3):
        work[0, axis] = believed_now(link, one, axis, first)
        work[1, axis] = believed_now(link, other, axis, second)
    dejmps(world.distil, work[0], work[1], work[2])
    for axis in range(3):
        work[0, axis] = value_now(one.truth[axis], axis, first)
        work[1, axis] = value_now(other.truth[axis], axis, second)
    chance = dejmps(world.distil, work[0], work[1], work[3])
    draw = uniform(seed_at(world, slot), DISTIL, number, link.distilled, 0)
    link.distilled += 1
    made, maker = other.birth, other.maker
    if len(ledger.ghost) > 0:
        remember(ledger, spend, -1)
        remember(ledger, keep, -1)
    take(ledger, spend)
    if draw >= chance:
        take(ledger, keep)
        ledger.totals[SPOILED] += 2
        return False
    step_out(ledger, number, keep)
    link.refined += 1
    one.kept, one.spent, one.spent_maker = slot - one.birth, slot - made, maker
    one.birth = slot
    for axis in range(3):
        one.belief[axis], one.truth[axis] = work[2, axis], work[3, axis]
    ledger.totals[DISTILLED] += 1
    return True


@lean
def refine(world: World, ledger: Ledger, rule: Rule) -> None:
    """Distil where live requests claim better pairs, or where the rule keeps stock of them.

    Eagerly: a better pair does for every request, and what failed can be made again in time. The
    youngest pairs are taken: what comes out is best, and old ones still do for those who ask less.
    """
    keeps = len(rule.refined) > 0
    for number in range(world.m):
        link = ledger.link[number]
        missing = link.wanted_refined
        if keeps:
            missing = max(missing, rule.refined[number])
        while link.stock >= 2 and link.refined < missing:
            distil(world, ledger, number)

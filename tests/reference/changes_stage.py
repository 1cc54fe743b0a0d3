"""Changes of the small service's network, for tests: a node that joins, and what is said."""

from service_stage import (
    alter,
    said,
)

from controller.service.terms import Terms
from quantum.alterations import (
    Join,
    NewLink,
    Survey,
)
from quantum.requests import (
    encode_request,
)

TERMS = Terms(load_hz=20.0, credits=8, remembered=256, most_pairs=4, grace_s=1.0)
STATE = (0.97, 0.01, 0.01, 0.01)
NEW = Join("new", 30.0, 50.0, 16, 5.0, 5.0, (NewLink("n3", 1.0, STATE), NewLink("n0", 1.0, STATE)))


def change(desk, session, number, *steps, now_s=0.0):
    """Ask for a change; return what was said of it, and all else that was said."""
    first, *more = said(desk.hear([(b"op", alter(session, number, *steps))], now_s))
    return first, more


def survey(desk, session, first=0):
    frame = encode_request(Survey(bytes(16), session, first))
    [answer] = said(desk.hear([(b"x", frame)], 0.0))
    return answer


def stored(desk):
    """Return how many pairs each link has, by its ends."""
    net, stock = desk.stock.network, desk.stock.ledger.link.stock
    return {
        (net.nodes[a], net.nodes[b]): int(count)
        for (a, b), count in zip(net.links.tolist(), stock.tolist(), strict=True)
    }

"""From what is known of a service to its sheet: pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.dashboard.service_story import PairSums, ServiceStory
from controller.dashboard.service_tables import BLOCKED, latest, network_changes, reasons
from controller.dashboard.sheet import (
    Chart,
    Interval,
    Intervals,
    Key,
    Sheet,
    State,
    Table,
    Tile,
)
from quantum.requests import Measured

__all__ = ["Owner", "Standing", "service_sheet"]

_MOST_ROWS, _MOST_INTERVALS = 150, 12


class Owner(NamedTuple):
    """The owner of a public key in the service's folder."""

    name: str
    role: str
    public: str
    revoked: bool


class Standing(NamedTuple):
    """How a service stands now, besides its journal.

    ``gauges`` are its newest metrics by their names without ``dpem_``, empty where it has none or
    does not answer; ``stock`` and ``load`` are (seconds since the start, value) as they were seen.
    """

    state: State
    word: str
    address: str
    journal: str
    metrics: str
    network: str
    owners: Sequence[Owner] = ()
    gauges: Mapping[str, float] = {}
    stock: Sequence[tuple[float, float]] = ()
    load: Sequence[tuple[float, float]] = ()
    now_s: float = 0.0


def service_sheet(story: ServiceStory, standing: Standing) -> Sheet:
    """Return the sheet of a service."""
    started = story.started
    begun = f", start {started.epoch} on this journal" if started is not None else ""
    return Sheet(
        title=f"service on {standing.network}",
        subtitle=f"{standing.address}{begun}",
        state=standing.state,
        word=standing.word,
        tiles=_tiles(story, standing),
        charts=_charts(story, standing),
        intervals=_intervals(story),
        tables=[
            _clients(story, standing),
            _node_pairs(story),
            latest(story),
            network_changes(story),
            reasons(story),
            _keys(standing),
            _facts(story, standing),
        ],
    )


def _tiles(story: ServiceStory, standing: Standing) -> list[Tile]:
    gauges = standing.gauges
    blocked = sum(story.blocked.values())
    share = f"{100 * story.granted / story.answered:.1f} % of answers" if story.answered else ""
    seen = "right now" if gauges else "no metrics: see This service"

    def gauge(field: str) -> str:
        return f"{gauges[field]:.0f}" if field in gauges else "–"

    load = standing.load[-1][1] if standing.load and gauges else None
    measured = story.measured
    return [
        Tile("granted", "requests granted", f"{story.granted}", share),
        Tile("pairs", "pairs handed out", f"{story.pairs}", "by the journal"),
        Tile("blocked", "requests blocked", f"{blocked}", _most(story.blocked)),
        Tile("waiting", "requests that wait", gauge("waiting"), seen),
        Tile("stock", "pairs in stock", gauge("stored"), "of neighbours"),
        Tile(
            "load",
            "requests a second",
            "–" if load is None else f"{load:.1f}",
            f"{gauge('busy_total')} sent away as busy, {gauge('sessions')} sessions",
        ),
        Tile(
            "fidelity",
            "measured fidelity, newest",
            "–" if measured is None else f"{measured.best:.3f}",
            "" if measured is None else f"95 %: [{measured.low:.2f}, {measured.high:.2f}]",
        ),
    ]


def _most(blocked: Mapping[str, int]) -> str:
    if not blocked:
        return "none"
    code = max(blocked, key=lambda each: blocked[each])
    return f"mostly {code}: {BLOCKED.get(code, 'see Blocked')}"


def _charts(story: ServiceStory, standing: Standing) -> list[Chart]:
    bins = story.series
    end = max(story.time_s, standing.now_s, 1.0)
    # The last bin is not over yet: its rate would fall to nothing and rise again.
    whole = bins.size - (standing.state == "running" and bins.size * bins.width > end)

    def rate(name: str) -> list[tuple[float, float]]:
        values = bins.columns[name][: max(0, whole)]
        return [
            (min(end, (k + 0.5) * bins.width), value / bins.width) for k, value in enumerate(values)
        ]

    return [
        Chart(
            name="requests",
            title="Requests answered",
            unit="per second, since the latest start",
            keys=(Key("granted", "granted"), Key("missed", "blocked")),
            lines={"granted": rate("granted"), "missed": rate("blocked")},
            end=end,
        ),
        Chart(
            name="pairs",
            title="Pairs handed out",
            unit="per second",
            keys=(Key("delivered", "pairs"),),
            lines={"delivered": rate("pairs")},
            end=end,
        ),
        Chart(
            name="stock",
            title="Stock",
            unit="pairs of neighbours, as seen since this page opened",
            keys=(Key("stored", "in stock"),),
            lines={"stored": list(standing.stock)},
            end=end,
            empty="metrics tell it; they are off or do not answer",
        ),
    ]


def _intervals(story: ServiceStory) -> Intervals:
    rows = [
        _interval(f"{a} → {b}", sums.measured)
        for (a, b), sums in _busiest(story)
        if sums.measured is not None
    ]
    return Intervals(
        title="Measured fidelity",
        unit="of paths like those of the busiest node pairs, 95 %",
        rows=rows[:_MOST_INTERVALS],
        zero=None,
        span=(0.5, 1.0),
        empty="No answer has told a measured fidelity yet.",
    )


def _interval(label: str, measured: Measured) -> Interval:
    return Interval(label, measured.low, measured.best, measured.high)


def _busiest(story: ServiceStory) -> list[tuple[tuple[str, str], PairSums]]:
    return sorted(story.by_pair.items(), key=lambda item: (-item[1].requests, item[0]))


def _clients(story: ServiceStory, standing: Standing) -> Table:
    owners = {owner.public: owner for owner in standing.owners}
    rows = []
    for sums in sorted(story.clients.values(), key=lambda each: (-each.requests, each.name)):
        owner = owners.get(sums.public)
        may = "key is gone" if owner is None else "revoked" if owner.revoked else owner.role
        rows.append(
            [
                sums.name,
                may,
                f"{sums.requests}",
                f"{sums.granted}",
                f"{sums.pairs}",
                f"{sums.blocked}",
            ]
        )
    return Table(
        name="clients",
        title="Who asks",
        heads=[
            ("client", False),
            ("role of the key", False),
            ("requests", True),
            ("granted", True),
            ("pairs", True),
            ("blocked", True),
        ],
        rows=rows[:_MOST_ROWS],
        empty="Nobody was answered yet.",
    )


def _node_pairs(story: ServiceStory) -> Table:
    return Table(
        name="pairs",
        title="Between which nodes",
        heads=[
            ("from → to", False),
            ("requests", True),
            ("granted", True),
            ("pairs", True),
            ("blocked", True),
            ("fidelity asked", True),
            ("measured [95 %]", False),
            ("tests", True),
        ],
        rows=[
            [
                f"{a} → {b}" if b else "others",
                f"{sums.requests}",
                f"{sums.granted}",
                f"{sums.pairs}",
                f"{sums.blocked}",
                f"{sums.fidelity:.2f}",
                _told(sums.measured),
                "" if sums.measured is None else f"{sums.measured.shots}",
            ]
            for (a, b), sums in _busiest(story)[:_MOST_ROWS]
        ],
        empty="Nobody was answered yet.",
    )


def _told(measured: Measured | None) -> str:
    if measured is None:
        return "no tests yet"
    return f"{measured.best:.3f} [{measured.low:.2f}, {measured.high:.2f}]"


def _keys(standing: Standing) -> Table:
    return Table(
        name="keys",
        title="Keys",
        heads=[("name", False), ("role", False), ("state", False)],
        rows=[
            [owner.name, owner.role, "revoked" if owner.revoked else "may come in"]
            for owner in standing.owners
        ],
        empty="The folder of keys is not there, or cannot be read.",
    )


def _facts(story: ServiceStory, standing: Standing) -> Table:
    gauges = standing.gauges
    rows = [
        ["address", standing.address],
        ["network", standing.network if story.started is None else story.started.network],
        ["journal", standing.journal],
        ["answers in the journal", f"{story.answered}"],
        ["metrics", standing.metrics],
    ]
    rows += [
        [words, f"{gauges[field]:.0f}"]
        for field, words in (
            ("ready", "takes new requests in (1: yes)"),
            ("nodes", "nodes"),
            ("links", "links"),
            ("links_down", "links that have failed"),
            ("changes_total", "changes of the network of the file"),
            ("planned", "stock planned for the network as it stands (1: yes)"),
            ("slot_total", "slots played"),
            ("tested_total", "pairs tested"),
            ("repeated_total", "requests sent again"),
            ("remembered", "answers remembered"),
            ("unjournalled_total", "entries that are not in the journal"),
        )
        if field in gauges
    ]
    return Table(name="facts", title="This service", heads=[("", False), ("", False)], rows=rows)

"""Tables of a service's sheet that its journal alone tells."""

from controller.dashboard.service_story import Latest, NetworkChange, ServiceStory
from controller.dashboard.sheet import Table

__all__ = ["BLOCKED", "latest", "network_changes", "reasons"]

#: What codes of denied requests mean.
BLOCKED = {
    "NORES": "no chain of links can meet the fidelity",
    "TIMEOUT": "the deadline passed",
    "NOTIME": "the deadline was over",
    "EXPIRE": "a promised pair turned out not to exist",
}


def latest(story: ServiceStory) -> Table:
    """Return the latest requests."""

    def row(each: Latest) -> list[str]:
        return [
            f"{each.time_s:.1f} s",
            each.client,
            f"{each.source} → {each.destination}",
            f"{each.got} of {each.asked}",
            f"{each.fidelity:.2f}",
            each.answer,
        ]

    return Table(
        name="latest",
        title="Latest requests",
        heads=[
            ("answered at", True),
            ("client", False),
            ("from → to", False),
            ("pairs", True),
            ("fidelity asked", True),
            ("answer", False),
        ],
        rows=[row(each) for each in reversed(story.latest)],
        empty="Nobody was answered yet.",
    )


def network_changes(story: ServiceStory) -> Table:
    """Return the latest changes of the network."""

    def row(each: NetworkChange) -> list[str]:
        sizes = f"{each.nodes}", f"{each.links}", f"{each.down}"
        return [f"{each.number}", f"{each.time_s:.1f} s", each.client, each.steps, *sizes]

    return Table(
        name="network",
        title="Changes of the network",
        heads=[
            ("change", True),
            ("made at", True),
            ("client", False),
            ("what", False),
            ("nodes then", True),
            ("links then", True),
            ("of them down", True),
        ],
        rows=[row(each) for each in reversed(story.changes)],
        empty="No change of the network is in the journal.",
    )


def reasons(story: ServiceStory) -> Table:
    """Return why requests were blocked."""
    return Table(
        name="blocked",
        title="Blocked",
        heads=[("code", False), ("requests", True), ("meaning", False)],
        rows=[
            [code, f"{number}", BLOCKED.get(code, "see docs/service.md")]
            for code, number in sorted(story.blocked.items(), key=lambda item: -item[1])
        ],
        empty="No request was blocked.",
    )

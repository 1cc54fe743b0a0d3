"""What a service has done, for Prometheus: a page of text; how it is served: ``scrapes``.

The page is made by the service's loop once a second; whoever asks for it is given what is there, so
that nobody who asks can keep an application waiting. Whoever can reach the port can read it.
"""

import time
from collections.abc import Mapping

from controller.service.scrapes import Scrapes
from controller.service.terms import Counts, WorkCounts
from quantum.requests import Measured

__all__ = ["Metrics", "page"]

_KINDS: dict[str, tuple[str, str]] = {
    "granted": ("counter", "Requests that got their pairs."),
    "pairs": ("counter", "Pairs that were handed out."),
    "denied": ("counter", "Requests that were refused for good."),
    "busy": ("counter", "Requests that were asked to come again later."),
    "timed_out": ("counter", "Requests whose deadline passed."),
    "repeated": ("counter", "Requests that were sent again."),
    "unjournalled": ("counter", "Entries that could not be written to the journal."),
    "waiting": ("gauge", "Requests that have no answer yet."),
    "sessions": ("gauge", "Sessions that are open."),
    "remembered": ("gauge", "Answers that are remembered."),
    "slot": ("counter", "Slots of the network that were played."),
    "tested": ("counter", "Pairs that were tested."),
    "stored": ("gauge", "Pairs of neighbours in stock."),
    "changes": ("counter", "Changes of the network of the file, over all starts."),
    "nodes": ("gauge", "Nodes that are there."),
    "links": ("gauge", "Links that are there, those that have failed included."),
    "links_down": ("gauge", "Links that have failed."),
    "planned": ("gauge", "1 where the stock is planned for the network as it stands."),
}
#: What workers do; the names are those of :class:`WorkCounts`.
_WORK: dict[str, tuple[str, str]] = {
    "executed": ("counter", "Pairs that workers executed after they were granted."),
    "expired": ("counter", "Pairs that were granted and turned out not to exist."),
    "untested": ("counter", "Tests that no worker has carried out."),
    "jobs": ("counter", "Jobs that were handed out."),
    "jobs_out": ("gauge", "Jobs that workers have."),
    "pairs_queued": ("gauge", "Pairs and tests that no worker has taken yet."),
    "workers": ("gauge", "Workers that are there."),
}
_FRESH_S = 1.0


def page(
    counts: Counts,
    *,
    ready: bool,
    work: WorkCounts | None = None,
    measured: Mapping[int, tuple[Measured, int, int]] | None = None,
) -> str:
    """Return the page in the text format of Prometheus, version 0.0.4.

    ``ready`` tells whether new requests are taken in: neither draining nor without a journal, nor
    without workers where there should be some. ``measured`` tells, by the number of links, the
    fidelity of paths and how many tests passed and failed.

    >>> print(page(Counts(*range(18)), ready=True).partition("# HELP dpem_pairs")[0], end="")
    # HELP dpem_granted_total Requests that got their pairs.
    # TYPE dpem_granted_total counter
    dpem_granted_total 0
    """
    lines = []
    rows = [(value, *_KINDS[field], field) for field, value in counts._asdict().items()]
    if work is not None:
        rows += [(value, *_WORK[field], field) for field, value in work._asdict().items()]
    for value, kind, told, field in rows:
        name = f"dpem_{field}_total" if kind == "counter" else f"dpem_{field}"
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", f"{name} {value}"]
    lines += _measured(measured or {})
    name = "dpem_ready"
    lines += [
        f"# HELP {name} 1 where new requests are taken in.",
        f"# TYPE {name} gauge",
        f"{name} {int(ready)}",
    ]
    return "\n".join(lines) + "\n"


def _measured(measured: Mapping[int, tuple[Measured, int, int]]) -> list[str]:
    """Return what tests have shown, with labels."""
    tests, fidelity = "dpem_tests_total", "dpem_fidelity"
    lines = [
        f"# HELP {tests} Tests of pairs by the number of their links and by result.",
        f"# TYPE {tests} counter",
    ]
    for hops, (_, passed, failed) in measured.items():
        lines += [
            f'{tests}{{hops="{hops}",result="passed"}} {passed}',
            f'{tests}{{hops="{hops}",result="failed"}} {failed}',
        ]
    lines += [
        f"# HELP {fidelity} Fidelity that recent tests have shown, with its interval (95 %).",
        f"# TYPE {fidelity} gauge",
    ]
    for hops, (known, _, _) in measured.items():
        for bound in ("low", "best", "high"):
            value = getattr(known, bound)
            lines.append(f'{fidelity}{{hops="{hops}",bound="{bound}"}} {value:.6g}')
    return lines


class Metrics:
    """Serves the page at ``http://HOST:PORT/metrics`` from a thread of its own until it is closed.

    Raises :class:`InputError` where it cannot listen.
    """

    def __init__(self, where: str) -> None:
        self._page, self._due_s = b"", 0.0
        self._scrapes = Scrapes(where, "metrics", lambda: self._page)
        self.address = self._scrapes.address

    def due(self) -> bool:
        """Tell whether the page should be made anew."""
        return time.monotonic() >= self._due_s

    def show(
        self,
        counts: Counts,
        *,
        ready: bool,
        work: WorkCounts | None = None,
        measured: Mapping[int, tuple[Measured, int, int]] | None = None,
    ) -> None:
        """Make the page anew."""
        self._due_s = time.monotonic() + _FRESH_S
        self._page = page(counts, ready=ready, work=work, measured=measured).encode()

    def close(self) -> None:
        """End the thread and close the port."""
        self._scrapes.close()

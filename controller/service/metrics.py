"""What a service has done, for Prometheus: a page of text, and the thread that serves it.

The page is made by the service's loop once a second; whoever asks for it is given what is there, so
that nobody who asks can keep an application waiting. Whoever can reach the port can read it.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Mapping

from controller.service.terms import Counts, WorkCounts
from quantum.errors import InputError
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
#: Whoever does not finish his question is dropped; the next one waits for no longer.
_PATIENCE_S, _LONGEST_HEAD = 1.0, 16 * 1024


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

    >>> print(page(Counts(*range(13)), ready=True).partition("# HELP dpem_pairs")[0], end="")
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
        host, colon, port = where.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise InputError(f"metrics must be HOST:PORT, got {where!r}")
        try:
            self._listener = socket.create_server((host, int(port)))
        except OSError as wrong:
            why = wrong.strerror or str(wrong)
            raise InputError(f"metrics: cannot listen on {where}: {why}") from wrong
        self._listener.settimeout(0.2)
        self.address = f"http://{host}:{self._listener.getsockname()[1]}/metrics"
        self._page, self._due_s = b"", 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            # Nobody there, no room for another connection, or somebody who has gone: go on.
            with contextlib.suppress(OSError), self._listener.accept()[0] as line:
                asked = _question(line)
                if asked:
                    line.settimeout(_PATIENCE_S)
                    line.sendall(_answer(asked, self._page))

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
        self._over.set()
        self._thread.join()
        self._listener.close()


def _question(line: socket.socket) -> bytes:
    """Return the head of a request that came in time, else nothing."""
    until_s, head = time.monotonic() + _PATIENCE_S, b""
    while b"\r\n\r\n" not in head:
        # All of it has so long, however slowly it is dealt out.
        left_s = until_s - time.monotonic()
        if left_s <= 0.0 or len(head) > _LONGEST_HEAD:
            return b""
        line.settimeout(left_s)
        data = line.recv(4096)
        if not data:
            return b""
        head += data
    return head


def _answer(head: bytes, text: bytes) -> bytes:
    found = head.startswith((b"GET /metrics ", b"GET /metrics?"))
    body = text if found else b"the page is /metrics\n"
    return (
        (b"HTTP/1.1 200 OK\r\n" if found else b"HTTP/1.1 404 Not Found\r\n")
        + b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )

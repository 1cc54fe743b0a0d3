"""The library for operators: look at the network of a service, and change it while it runs."""

import os
import time
from typing import NamedTuple

import msgspec

from controller.client import Client
from quantum.alterations import NETWORK, Alter, Altered, Line, Place, Step, Survey, Surveyed
from quantum.errors import Code, InputError, RequestError
from quantum.requests import MAX_ASK_BYTES, Again, Closed, Denied, encode_request

__all__ = ["Operator", "Stands"]

_RETRY_S, _LONGEST_RETRY_S = 0.25, 2.0


class Stands(NamedTuple):
    """What a service has after ``change`` changes; ``planned``: the stock is planned for it."""

    network: str
    change: int
    planned: bool
    nodes: tuple[Place, ...]
    links: tuple[Line, ...]


class Operator(Client):
    """A session with a service whose network may change; see :class:`Client`.

    Raises :class:`RequestError` (UNSUPP) where it may not, or dpem at the service is older.
    """

    features = (*Client.features, NETWORK)

    def change(
        self, steps: tuple[Step, ...], *, wait_s: float = 10.0, rid: bytes | None = None
    ) -> Altered:
        """Change the network, by all steps or none, and wait for the answer.

        ``rid`` names a change that was asked for before: it gets the answer of then. Raises
        :class:`RequestError` with the code and the reason of the service: CREATE where a step makes
        no sense, REJECTED where the role of the key is not enough, TIMEOUT where nobody answered.
        """
        rid = os.urandom(16) if rid is None else rid
        size = len(_written(Alter(rid, bytes(12), tuple(steps))))
        if size > MAX_ASK_BYTES:
            raise InputError(
                f"the change is {size} bytes long, {MAX_ASK_BYTES} are allowed: "
                "make several changes, with fewer links each or shorter names"
            )
        answer = self._exchange(Alter(rid, b"", tuple(steps)), wait_s)
        assert isinstance(answer, Altered)
        return answer

    def stands(self, *, wait_s: float = 10.0) -> Stands:
        """Return the nodes and links that are there; all of one moment between two changes."""
        until_s = time.monotonic() + wait_s
        while True:
            first, pages = 0, list[Surveyed]()
            while not pages or (first < pages[0].total and pages[-1].change == pages[0].change):
                left_s = until_s - time.monotonic()
                page = self._exchange(Survey(os.urandom(16), b"", first), left_s)
                assert isinstance(page, Surveyed)
                pages.append(page)
                first += len(page.nodes) + len(page.links)
            if pages[-1].change == pages[0].change:
                break
        nodes = tuple(node for page in pages for node in page.nodes)
        links = tuple(link for page in pages for link in page.links)
        last = pages[-1]
        return Stands(self.terms.network, last.change, last.planned, nodes, links)

    def _exchange(self, message: Alter | Survey, wait_s: float) -> Altered | Surveyed:
        """Say a message until it is answered; its session is filled in."""
        if NETWORK not in self.terms.features:
            why = (
                f"the service at {self.address} says nothing of its network and does not change it "
                f"while it runs (feature {NETWORK}): it is the broker of a region, or dpem there "
                "is to be updated"
            )
            raise RequestError(Code.UNSUPP, why)
        last_s, again_s, retry_s, busy = time.monotonic() + wait_s, 0.0, _RETRY_S, ""
        while (now_s := time.monotonic()) < last_s:
            if now_s >= again_s:
                self._come_back()
                said = msgspec.structs.replace(message, session=self.session)
                self._send(_written(said))
                again_s, retry_s = now_s + retry_s, min(2.0 * retry_s, _LONGEST_RETRY_S)
            match self._receive(min(again_s, last_s)):
                case Altered() | Surveyed() as answer if answer.rid == message.rid:
                    return answer
                case Denied(rid, code, detail, retry_s=wait) if rid == message.rid:
                    if wait == 0.0:
                        raise RequestError(code, detail)
                    again_s, busy = time.monotonic() + wait, detail
                case Again():
                    self.terms = self._open()
                    again_s = 0.0
                case Closed(code, detail):
                    raise RequestError(code, detail)
        if busy:
            raise RequestError(Code.BUSY, busy)
        why = f"no answer from {self.address} within {max(0.0, wait_s):g} s"
        raise RequestError(Code.TIMEOUT, why)


def _written(message: Alter | Survey) -> bytes:
    """Return the frame of a message; :class:`InputError` where no frame could hold it."""
    try:
        return encode_request(message)
    except OverflowError as wrong:
        raise InputError("qubits must be a number of qubits that fits into 64 bits") from wrong
    except UnicodeEncodeError as wrong:
        raise InputError("names of nodes must be text in UTF-8") from wrong

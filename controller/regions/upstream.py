"""What a region's broker asks of its own service, as an application of it. No sockets.

Frames go out and come in; a request without an answer is sent again under the same ``rid``, also
after the service was started again, so it is carried out once at most.
"""

from quantum.errors import WireError
from quantum.requests import (
    VERSION,
    Again,
    Ask,
    Closed,
    Denied,
    Granted,
    Open,
    Opened,
    decode_answer,
    encode_request,
)

__all__ = ["Upstream"]

_AGAIN_S, _LONGEST_S = 0.25, 2.0
_HELLO_S = 0.25


class _Wish:
    __slots__ = ("again_s", "ask", "patient", "retry_s", "until_s")

    def __init__(self, ask: Ask, *, patient: bool, now_s: float, until_s: float) -> None:
        self.ask, self.patient, self.until_s = ask, patient, until_s
        self.again_s, self.retry_s = now_s, _AGAIN_S


class Upstream:
    """A session with a service, and the requests that wait for its answers."""

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._session: bytes | None = None
        self._ahead_s = 0.0
        self._hello_s = float("-inf")
        self._wishes: dict[bytes, _Wish] = {}
        self.refused = ""
        """Why the service does not let us in."""
        self.out: list[bytes] = []

    def ask(self, ask: Ask, now_s: float, *, patient: bool) -> None:
        """Ask for pairs; ``deadline_s`` is on our clock, ``session`` is filled in.

        Who is ``patient`` does not hear that the service is busy: it is asked again.
        """
        if ask.rid not in self._wishes:
            until_s = max(ask.deadline_s, now_s) + self._grace_s
            self._wishes[ask.rid] = _Wish(ask, patient=patient, now_s=now_s, until_s=until_s)

    def turn(self, now_s: float) -> None:
        """Say what has to be said (again); forget what nobody waits for any more."""
        if self._session is None:
            if now_s >= self._hello_s:
                self._hello_s = now_s + _HELLO_S
                self.out.append(encode_request(Open(VERSION, "region")))
            return
        for rid, wish in list(self._wishes.items()):
            if now_s >= wish.until_s:
                del self._wishes[rid]
            elif now_s >= wish.again_s:
                wish.again_s = now_s + wish.retry_s
                wish.retry_s = min(2.0 * wish.retry_s, _LONGEST_S)
                ask = wish.ask
                self.out.append(
                    encode_request(
                        Ask(
                            rid,
                            self._session,
                            ask.source,
                            ask.destination,
                            ask.deadline_s + self._ahead_s,
                            ask.pairs,
                            ask.minimum_fidelity,
                        )
                    )
                )

    def hear(self, frame: bytes, now_s: float) -> Granted | Denied | None:
        """Take a frame of the service; returns an answer that somebody waits for."""
        try:
            message = decode_answer(frame)
        except WireError:
            return None
        match message:
            case Opened(session=session, now_s=theirs_s):
                self._session, self._ahead_s, self.refused = session, theirs_s - now_s, ""
                for wish in self._wishes.values():
                    wish.again_s = now_s
            case Again():
                self._session = None
            case Closed(detail=detail):
                self._session, self.refused = None, detail
            case Granted() | Denied():
                wish_of = self._wishes.get(message.rid)
                if wish_of is None:
                    return None
                if isinstance(message, Denied) and message.retry_s > 0.0 and wish_of.patient:
                    wish_of.again_s = now_s + message.retry_s
                    return None
                del self._wishes[message.rid]
                return message
        return None

    def waits_for(self, rid: bytes) -> bool:
        """Tell whether an answer to a request may still come."""
        return rid in self._wishes

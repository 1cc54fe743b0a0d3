"""What the log is told of answers; no session and no key is in it."""

from quantum.errors import Code
from quantum.logs import note
from quantum.requests import Ask, Denied, Granted

__all__ = ["tell_answered", "tell_refused"]


def tell_answered(client: str, ask: Ask, answer: Granted | Denied) -> None:
    """Say what became of a request that was taken in."""
    note(
        "answered",
        level="debug",
        client=client,
        rid=ask.rid.hex(),
        source=ask.source,
        destination=ask.destination,
        pairs=[pair.sequence for pair in answer.pairs],
        code="OK" if isinstance(answer, Granted) else answer.code.name,
    )


def tell_refused(ask: Ask, code: Code, why: str) -> None:
    """Say why a request was not taken in."""
    note("refused", level="debug", rid=ask.rid.hex(), code=code.name, why=why)

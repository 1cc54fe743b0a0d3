"""Transcripts: what was said to an instrument and what it answered, as text that people can read.

``>`` is what the client says, ``<`` all that comes until it speaks again, ``<#`` an answer whose
numbers are free. ``== NAME`` begins a section. ``# source:`` says where the lines below are from,
``# t=SECONDS connection=N line=N`` when and where the next one passed; ``connection`` counts from 0
and ``line`` is the number of the port of an instrument that has several. Frames of an ID900 are
text; APT is in hex; other bytes are text in which a backslash begins ``\\r``, ``\\n``, ``\\\\`` or
``\\xNN``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from quantum.errors import InputError

__all__ = ["Turn", "decode_bytes", "encode_bytes", "read_transcript", "same"]

_HEX_KINDS = ("apt",)
_ESCAPE = re.compile(rb"\\(r|n|\\|x[0-9a-fA-F]{2})")
_PLACE = re.compile(r"# t=(?P<at>[0-9.]+) connection=(?P<connection>\d+) line=(?P<line>\d+)\Z")
_NUMBER = re.compile(rb"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@dataclass
class Turn:
    """A thing said, and what came before the next one on the same connection."""

    said: bytes
    answered: bytes = b""
    free: bool = False
    """Numbers of the answer may differ."""
    section: str = ""
    source: str = ""
    at_s: float = 0.0
    connection: int = 0
    line: int = 0
    row: int = 0


def encode_bytes(kind: str, data: bytes) -> str:
    r"""Write bytes as a transcript does.

    >>> encode_bytes("epc", b"V?\r\n"), encode_bytes("apt", b"\x11\x04")
    ('V?\\r\\n', '11 04')
    """
    if kind in _HEX_KINDS:
        return data.hex(" ")
    if kind == "id900":
        return data.decode("utf-8", errors="backslashreplace")
    text = data.replace(b"\\", b"\\\\").replace(b"\r", b"\\r").replace(b"\n", b"\\n")
    return "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in text)


def decode_bytes(kind: str, text: str) -> bytes:
    """Read them back, or raise :class:`InputError`."""
    if kind in _HEX_KINDS:
        try:
            return bytes.fromhex(text)
        except ValueError as wrong:
            raise InputError(f"{text[:40]!r} is not hex") from wrong
    if kind == "id900":
        return text.strip().encode()

    def plain(found: re.Match[bytes]) -> bytes:
        word = found[1]
        if word[:1] == b"x":
            return bytes([int(word[1:], 16)])
        return {b"r": b"\r", b"n": b"\n", b"\\": b"\\"}[word]

    return _ESCAPE.sub(plain, text.encode("utf-8"))


def read_transcript(kind: str, text: str) -> list[Turn]:
    """Return the turns of a transcript, or raise :class:`InputError` that names the row."""
    turns: list[Turn] = []
    section, source = "", ""
    at_s, connection, line = 0.0, 0, 0
    for row, raw in enumerate(text.splitlines(), start=1):
        place = _PLACE.match(raw)
        if place is not None:
            at_s, connection = float(place["at"]), int(place["connection"])
            line = int(place["line"])
        elif raw.startswith("== "):
            section, source = raw[3:].strip(), ""
        elif raw.startswith("# source: "):
            source = raw.removeprefix("# source: ")
        elif raw.startswith("#") or not raw.strip():
            continue
        elif raw.startswith(">"):
            said = decode_bytes(kind, _body(raw[1:]))
            turns.append(Turn(said, b"", False, section, source, at_s, connection, line, row))
        elif raw.startswith("<"):
            free = raw.startswith("<#")
            data = decode_bytes(kind, _body(raw[2:] if free else raw[1:]))
            turn = _open(turns, section, connection, line)
            if turn is None:
                # Bytes that nobody asked for: a greeting, or a line that only speaks.
                turns.append(Turn(b"", data, free, section, source, at_s, connection, line, row))
            else:
                turn.answered += data
                turn.free = turn.free or free
        else:
            raise InputError(f"row {row}: expected '>', '<', '==' or '#', got {raw[:20]!r}")
    return turns


def _body(text: str) -> str:
    return text[1:] if text.startswith(" ") else text


def _open(turns: list[Turn], section: str, connection: int, line: int) -> Turn | None:
    for turn in reversed(turns):
        if (turn.section, turn.connection, turn.line) == (section, connection, line):
            return turn
    return None


def same(expected: bytes, got: bytes, numbers_free: bool) -> bool:
    """Compare two answers; where numbers are free only what stands between them must agree.

    >>> same(b"12;-3.5TB", b"9;4TB", True), same(b"12", b"13", False)
    (True, False)
    """
    if not numbers_free:
        return expected == got
    return _NUMBER.sub(b"0", expected) == _NUMBER.sub(b"0", got)


def describe(expected: bytes, got: bytes, kind: str) -> Iterator[str]:
    """Say how two answers differ, in two rows."""
    yield f"  transcript  {encode_bytes(kind, expected)}"
    yield f"  stub        {encode_bytes(kind, got)}"

"""The ID900's command tree: every header the stub knows, with type, range and power-on value.

Headers, ranges of numbers and words: *Time Controller Series User Manual*, chapters 8-9, and the
vendor's public example scripts. Power-on values and limits that those sources do not give are ours
and marked ``assumed``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from firmware_stubs.scpi import ScpiError, Tree, quantity, short_form

__all__ = ["Act", "Entry", "Read", "Setting", "Value", "command_tree", "link_addresses"]

Value = str | float

#: 1 TB is one picosecond; the longest time that fits the registers is assumed.
_LONGEST_TB = 1e15


@dataclass(frozen=True)
class Setting:
    """A value that can be set and read: ``kind`` is switch, word, number, count or link."""

    kind: Literal["switch", "word", "number", "count", "link"]
    power_on: Value
    words: tuple[str, ...] = ()
    unit: str = ""
    low: float = 0.0
    high: float = _LONGEST_TB

    def parse(self, text: str) -> Value:
        """Read an argument; an empty one means the default (for a switch: ON)."""
        if not text:
            return "ON" if self.kind == "switch" else self.power_on
        word = text.upper()
        if self.kind == "switch":
            return _pick(word, ("ON", "OFF"))
        if self.kind == "word":
            return _pick(word, self.words)
        if self.kind == "link":
            return _address(word)
        if self.kind == "count" and word == "INF":
            return "INF"
        value = quantity(text, self.unit)
        if not self.low <= value <= self.high:
            raise ScpiError(-222, "Data out of range")
        return value

    def show(self, value: Value, suffix: str) -> str:
        """Write a value as an answer; times carry ``suffix``."""
        if isinstance(value, str):
            return value
        digits = f"{value:.0f}" if value == round(value) else f"{value:.12g}"
        return digits + (suffix if self.unit == "TB" else "")


@dataclass(frozen=True)
class Read:
    """A value that can only be read."""

    what: str


@dataclass(frozen=True)
class Act:
    """A command that does something and holds no value."""

    what: str


Entry = Setting | Read | Act


def _pick(word: str, words: tuple[str, ...]) -> str:
    for known in words:
        if word in (short_form(known), known.upper()):
            return short_form(known)
    raise ScpiError(-224, "Illegal parameter value")


def link_addresses() -> list[str]:
    """Return every address that a LINK may name, in short form."""
    blocks = (("INPU", 4), ("DELA", 8), ("TSCO", 8), ("GENE", 8))
    numbered = [f"{name}{n}" for name, count in blocks for n in range(1, count + 1)]
    return ["NONE", "STAR", *numbered]


def _address(word: str) -> str:
    name = word.rstrip("0123456789")
    number = word[len(name) :]
    for long in ("INPUt", "STARt", "DELAy", "TSCOmbiner", "GENerator", "NONE"):
        # The manual writes GENerator, its addresses GENE1 to GENE8: both are taken.
        short = "GENE" if long == "GENerator" else short_form(long)
        if name in (short, short_form(long), long.upper()) and f"{short}{number}" in _ADDRESSES:
            return f"{short}{number}"
    raise ScpiError(-224, "Illegal parameter value")


_ADDRESSES = frozenset(link_addresses())


def _switch(power_on: str = "OFF") -> Setting:
    return Setting("switch", power_on)


def _word(power_on: str, *words: str) -> Setting:
    return Setting("word", power_on, words=words)


def _time(power_on: float, low: float = 0.0) -> Setting:
    return Setting("number", power_on, unit="TB", low=low)


def _patterns(integration_unit: str) -> Iterator[tuple[str, Entry]]:
    edges = ("RISING", "FALLING")
    link = Setting("link", "NONE")
    many = Setting("count", "INF", low=1.0, high=2.0**31)
    second = 1e3 if integration_unit == "ms" else 1e9
    integration = Setting(
        "number", second, unit=integration_unit, low=second * 1e-3, high=second * 3600.0
    )
    yield "*IDN", Read("identity")
    yield "LINK:ADDResses", Read("addresses")
    for block in ("INPUt4", "STARt"):
        yield f"{block}:ENABle", _switch()
        yield f"{block}:THREshold", Setting("number", 0.5, unit="V", low=-2.0, high=2.0)
        yield f"{block}:COUPling", _word("DC", "DC", "AC")
        yield f"{block}:EDGE", _word("RISING", *edges)
        yield f"{block}:SELEct", _word("UNSHAPED", "UNSHAPED", "SHAPED", "OUTP")
    for block in ("INPUt4", "STARt", "TSCOmbiner8"):
        yield f"{block}:COUNter", Read("counter")
        yield f"{block}:COUNter:MODE", _word("CYCL", "CYCLe", "ACCUm")
        yield f"{block}:COUNter:INTEgration", integration
        yield f"{block}:COUNter:RESEt", Act("reset counter")
    yield "DELAy8:LINK", link
    yield "DELAy8:VALUe", _time(0.0)
    yield "TSCOmbiner8:FIRst:LINK", link
    yield "TSCOmbiner8:SECond:LINK", link
    yield "TSCOmbiner8:OPIN", _word("ONLYFIR", "ONLYFIR", "MUTE")
    yield "TSCOmbiner8:OPOUt", _word("ONLYFIR", "ONLYFIR", "MUTE")
    yield "TSCOmbiner8:WINDow:ENABle", _switch()
    for end in ("BEGIn", "END"):
        yield f"TSCOmbiner8:WINDow:{end}:LINK", link
        yield f"TSCOmbiner8:WINDow:{end}:DELAy", _time(0.0)
        yield f"TSCOmbiner8:WINDow:{end}:EDGE", _word("RISING", *edges)
    for name in ("GENErator8", "RECord"):
        yield f"{name}:ENABle", _switch()
        yield f"{name}:PWIDth", _time(1e3, low=1.0)
        yield f"{name}:PPERiod", _time(1e6, low=1e3)
        yield f"{name}:TRIG:ARM:MODE", _word("MANU", "MANUal", "AUTO")
        yield f"{name}:PLAY", Act(f"play {short_form(name.rstrip('8'))}")
    yield "GENErator8:PNUMber", many
    yield "RECord:NUMBer", many
    yield "RECord:DURation", _time(1e12, low=1.0)
    yield "RECord:STOP", Act("stop REC")
    yield "RECord:STAGe", Read("stage")
    yield "OUTPut4:ENABle", _switch()
    yield "OUTPut4:MODE", _word("NIM", "NIM", "TTL")
    yield "OUTPut4:LINK", link
    for leg in ("REF", "STOP"):
        yield f"HISTogram4:{leg}:LINK", link
        yield f"HISTogram4:{leg}:FILTer", _word("RISI", "RISIng", "FALLing", "ALL")
    yield "HISTogram4:ENABle:LINK", link
    yield "HISTogram4:MINimum", _time(0.0)
    yield "HISTogram4:BWIDth", _time(100.0, low=1.0)
    # The manual says below 16384, a vendor script uses 16384 itself: the wider reading.
    yield "HISTogram4:BCOUnt", Setting("number", 256.0, low=1.0, high=16384.0)
    yield "HISTogram4:DATA", Read("histogram")
    yield "HISTogram4:FLUSh", Act("flush")
    yield "HISTogram4:STATe", Read("histogram state")
    yield "RAW4:REF:LINK", link
    yield "RAW4:STOP:LINK", link
    yield "RAW4:SEND", _switch()
    yield "RAW4:ERRORS", Read("raw errors")
    yield "RAW4:ERRORS:CLEAR", Act("clear raw errors")
    yield "DEVIce:RESolution", _word("HIRES", "HIRES", "LOWRES")
    yield "DEVIce:RESolution:BWIDth", Read("smallest bin")


def command_tree(integration_unit: str) -> Tree[Entry]:
    """Return the tree; ``integration_unit`` is ms or ns, an open question of the instrument."""
    return Tree(_patterns(integration_unit))

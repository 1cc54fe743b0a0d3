"""Where the links of the ID900 lead: through delays and combiners to inputs and generators."""

from collections.abc import Callable
from dataclasses import dataclass

from firmware_stubs.id900_counters import Tap

__all__ = ["Links", "Source"]

#: Delays may be chained; a ring of them leads nowhere.
_LONGEST_CHAIN = 8


@dataclass(frozen=True)
class Source:
    """What a link delivers: the events of a tap, later by ``delay_ps``."""

    tap: Tap
    delay_ps: float


@dataclass(frozen=True)
class Links:
    """Follows links through the present settings."""

    setting: Callable[[str], str | float]

    def input(self, link: str) -> tuple[int, float] | None:
        """Follow a link through delays: the input 0-3 it ends at and the delay on the way, ps."""
        delay = 0.0
        for _ in range(_LONGEST_CHAIN):
            if link.startswith("INPU"):
                return int(link[4:]) - 1, delay
            if not link.startswith("DELA"):
                return None
            delay += float(self.setting(f"{link}:VALU"))
            link = str(self.setting(f"{link}:LINK"))
        return None

    def line(self, output: int) -> bool:
        """Whether an output is high: enabled, and linked to an enabled generator."""
        link = str(self.setting(f"OUTP{output}:LINK"))
        return (
            self.setting(f"OUTP{output}:ENAB") == "ON"
            and link.startswith("GENE")
            and self.setting(f"{link}:ENAB") == "ON"
        )

    def tap(self, number: int) -> Tap | None:
        """Return what combiner ``number`` lets through."""
        block = f"TSCO{number}"
        link = str(self.setting(f"{block}:FIR:LINK"))
        inside = self.setting(f"{block}:OPIN") == "ONLYFIR"
        outside = self.setting(f"{block}:OPOU") == "ONLYFIR"
        if link.startswith("GENE"):
            return self._generator(link, inside, outside)
        first = self.input(link)
        if first is None:
            return None
        gate = None
        begin = self.input(str(self.setting(f"{block}:WIND:BEGI:LINK")))
        end = self.input(str(self.setting(f"{block}:WIND:END:LINK")))
        windowed = self.setting(f"{block}:WIND:ENAB") == "ON"
        if windowed and begin is not None and end is not None and begin[0] == end[0]:
            low = float(self.setting(f"{block}:WIND:BEGI:DELA")) + begin[1] - first[1]
            high = float(self.setting(f"{block}:WIND:END:DELA")) + end[1] - first[1]
            gate = (begin[0], low, high)
        return Tap(first[0], None, gate, inside, outside)

    def source(self, link: str) -> Source | None:
        """Return what time tags of a link show, or None where nothing is connected."""
        if link.startswith("GENE"):
            tap = self._generator(link, inside=True, outside=True)
            return None if tap is None else Source(tap, 0.0)
        if link.startswith("TSCO"):
            tap = self.tap(int(link[4:]))
            first = self.input(str(self.setting(f"{link}:FIR:LINK")))
            return None if tap is None else Source(tap, 0.0 if first is None else first[1])
        found = self.input(link)
        if found is None:
            return None
        return Source(Tap(found[0], None, None, inside=True, outside=True), found[1])

    def _generator(self, link: str, inside: bool, outside: bool) -> Tap | None:
        if self.setting(f"{link}:ENAB") != "ON":
            return None
        return Tap(None, float(self.setting(f"{link}:PPER")) * 1e-12, None, inside, outside)

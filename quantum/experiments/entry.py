"""One number of a published experiment: its value, how far it was checked, and where it stands.

A number is a table in TOML, or says that it is not known::

    fidelity = { value = 0.551, plus_minus = 0.013, mark = "from memory", source = "pompili2021" }
    rate_hz = { reported = false }

Nothing is guessed: a number without a source or a mark is refused.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from quantum.errors import InputError
from quantum.words import near

__all__ = [
    "MARKS",
    "QUANTITIES",
    "Entry",
    "Mark",
    "Quantity",
    "Source",
    "check_entry",
    "check_source",
]

#: ``verified``: seen in the text of the source, or of a text that ``definition`` or the source
#: names. ``from memory``: quoted from the source without looking. ``derived``: computed from other
#: numbers of the file, ``how`` says in which way. ``uncertain``: may well be wrong.
Mark = Literal["verified", "from memory", "derived", "uncertain"]
MARKS: tuple[str, ...] = get_args(Mark)


@dataclass(frozen=True)
class Quantity:
    """What a number may be: from 0 (which ``positive`` excludes) up to ``most``."""

    meaning: str
    most: float = math.inf
    positive: bool = True
    defined: bool = False
    """Whether the number means nothing without a ``definition``."""


#: Every quantity that a file may have; units are in the names.
QUANTITIES: dict[str, Quantity] = {
    "nodes": Quantity("nodes that are entangled"),
    "distance_km": Quantity("distance of the nodes as the crow flies", positive=False),
    "fibre_km": Quantity("length of the fibre between the nodes", positive=False),
    "loss_db": Quantity("loss of the fibre between the nodes", positive=False),
    "wavelength_nm": Quantity("wavelength that the nodes emit"),
    "telecom_nm": Quantity("wavelength in the fibre after conversion"),
    "fidelity": Quantity("fidelity to the state wished for", most=1.0, positive=False),
    "rate_hz": Quantity("pairs (or states) per second"),
    "success_probability": Quantity("chance that one attempt succeeds", most=1.0),
    "attempt_s": Quantity("time from one attempt to the next"),
    "pulse_hz": Quantity("pulses per second that excite the source"),
    "pair_generation": Quantity("pairs that a pulse makes", most=1.0, defined=True),
    "pair_extraction": Quantity("share of the pairs that leave the source", most=1.0, defined=True),
    "t1_s": Quantity("relaxation time of one memory qubit"),
    "t2_s": Quantity("coherence time of one memory qubit, relaxation included"),
    "later_t2_s": Quantity("T2 that later work reached on the same platform", defined=True),
    "attempts_1e": Quantity("attempts of a neighbour that cost a stored qubit 1/e of coherence"),
    "state_decay_hz": Quantity("decay rate of the coherence of a stored pair", defined=True),
    "storage_s": Quantity("time over which entanglement was stored", defined=True),
    "visibility": Quantity("contrast of the correlations", 1.0, positive=False, defined=True),
    "concurrence": Quantity("concurrence", most=1.0, positive=False, defined=True),
    "chsh": Quantity("Bell parameter S", most=2.0 * math.sqrt(2.0), positive=False),
    "chsh_sigma": Quantity("standard deviations by which S exceeds 2", positive=False),
    "qber": Quantity("quantum bit error rate", most=1.0, positive=False),
    "uptime": Quantity("share of the time in which pairs can be used", 1.0, defined=True),
    "running_s": Quantity("length of the run"),
    "pairs": Quantity("pairs of the whole run"),
}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text: how it is cited, and at least one of DOI, arXiv id and address."""

    cite: str
    doi: str | None = None
    arxiv: str | None = None
    url: str | None = None

    @property
    def where(self) -> str:
        """Address of the text, the DOI first.

        >>> Source("A. Author, 2024", arxiv="2404.03723").where
        'https://arxiv.org/abs/2404.03723'
        """
        if self.doi is not None:
            return f"https://doi.org/{self.doi}"
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else str(self.url)


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A number as the file has it, or the statement that it was not reported.

    The uncertainty is ``plus_minus``, or ``minus`` and ``plus``. ``bound`` says that the source
    gives a limit or an approximate value. ``of`` tells the fidelity of a pair from that of a
    channel that a pair went through.
    """

    value: float | None = None
    mark: Mark | None = None
    source: str | None = None
    reported: bool = True
    plus_minus: float | None = None
    minus: float | None = None
    plus: float | None = None
    bound: Literal["at least", "at most", "about"] | None = None
    of: Literal["pair", "channel"] = "pair"
    definition: str | None = None
    how: str | None = None


def check_source(where: str, source: Source) -> None:
    """Refuse a source that nobody could look up."""
    if not source.cite.strip():
        raise InputError(f"{where}.cite must not be empty")
    if source.doi is None and source.arxiv is None and source.url is None:
        raise InputError(f"{where} needs a doi, an arxiv id or a url")
    for field, pattern, example in (
        ("doi", r"10\.\d{4,9}/\S+", "10.1126/science.abg1919"),
        ("arxiv", r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+/\d{7}(v\d+)?", "1712.07567"),
        ("url", r"https?://\S+", "https://example.org/paper"),
    ):
        value = getattr(source, field)
        if value is not None and not re.fullmatch(pattern, value):
            raise InputError(f"{where}.{field} must look like {example}, got {value!r}")


def check_entry(where: str, name: str, entry: Entry, sources: Collection[str]) -> None:
    """Refuse a number that is impossible, or that nobody could trace.

    Raises :class:`InputError` that names ``where`` and the field.
    """
    quantity = QUANTITIES.get(name)
    if quantity is None:
        raise InputError(f"{where} is no known quantity{near(name, list(QUANTITIES))}")
    if not entry.reported:
        if entry != Entry(reported=False, definition=entry.definition):
            raise InputError(
                f"{where}: reported = false goes with nothing but a definition; "
                "leave it out where there is a value"
            )
        return
    if entry.value is None:
        raise InputError(f"{where} needs a value, or reported = false")
    if entry.mark is None:
        raise InputError(f"{where} needs a mark: {', '.join(MARKS)}")
    if entry.source is None:
        raise InputError(f"{where} needs a source: one of {', '.join(sources)}")
    if entry.source not in sources:
        raise InputError(
            f"{where}.source must be one of {', '.join(sources)}, got {entry.source!r}"
        )
    least = "> 0" if quantity.positive else ">= 0"
    allowed = least if math.isinf(quantity.most) else f"{least} and <= {quantity.most:.6g}"
    above = entry.value > 0.0 if quantity.positive else entry.value >= 0.0
    if not (math.isfinite(entry.value) and above and entry.value <= quantity.most):
        raise InputError(f"{where} must be {allowed}, got {entry.value}")
    _check_uncertainty(where, entry)
    for field in ("definition", "how"):
        text = getattr(entry, field)
        if text is not None and not text.strip():
            raise InputError(f"{where}.{field} must not be empty")
    if quantity.defined and entry.definition is None:
        raise InputError(f"{where} needs a definition: what exactly was measured")
    if entry.mark == "derived" and entry.how is None:
        raise InputError(f"{where} is derived and needs how: the formula and its numbers")
    if entry.of == "channel" and (name != "fidelity" or entry.definition is None):
        raise InputError(f'{where}: of = "channel" is for a fidelity with a definition')


def _check_uncertainty(where: str, entry: Entry) -> None:
    for field in ("plus_minus", "minus", "plus"):
        size = getattr(entry, field)
        if size is not None and not 0.0 < size < math.inf:
            raise InputError(f"{where}.{field} must be finite and > 0, got {size}")
    if (entry.minus is None) != (entry.plus is None):
        raise InputError(f"{where}: minus and plus go together")
    if entry.plus_minus is not None and entry.plus is not None:
        raise InputError(f"{where}: give plus_minus, or minus and plus, not both")

"""Which cells a comparison plays, and what to call them."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from quantum.errors import InputError, NoDemand
from quantum.presets import Cell, build, cells
from quantum.presets import sample as sampled
from quantum.topology import load_topology
from quantum.traffic_files import is_file
from quantum.words import near

__all__ = [
    "beliefs_in",
    "chosen_cells",
    "label",
    "levels_in",
    "load_label",
    "names_in",
    "service_times",
]

#: What cells can be picked by; the last five are numbers.
_FACTORS = (
    "topology",
    "demand",
    "deadline_s",
    "cutoff_s",
    "qubits",
    "load_hz",
    "knee_fraction",
)
_WORDS = _FACTORS[:2]

#: What controllers may believe of links, and whether that follows tests.
_BELIEFS = {"nominal": False, "measured": True}

#: Nodes of the networks that the loads of the ``paper`` preset are meant for.
_PAPER_NODES = 100


def names_in(text: str | None, option: str) -> list[str]:
    """Read a list of different names.

    >>> names_in("mesh-50, mesh-100", "--topology"), names_in(None, "--demand")
    (['mesh-50', 'mesh-100'], [])
    """
    if text is None:
        return []
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise InputError(f"{option} must be different names, with commas between; got {text!r}")
    return names


def service_times(text: str | None) -> tuple[float, ...]:
    """Read service times in milliseconds; in seconds, none where there is no text.

    >>> service_times("0, 10,500"), service_times(None)
    ((0.0, 0.01, 0.5), ())
    """
    times = []
    for part in [] if text is None else text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < 1e6 or value / 1e3 in times:
            raise InputError(
                f"--service-ms must be different numbers from 0 to a million, got {text!r}"
            )
        times.append(value / 1e3)
    return tuple(times)


def beliefs_in(text: str | None) -> tuple[bool, ...]:
    """Read whether controllers follow tests of links; none where nothing is said.

    >>> beliefs_in("nominal,measured"), beliefs_in(None)
    ((False, True), ())
    """
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if any(name not in _BELIEFS for name in names) or len(set(names)) < len(names):
        raise InputError(f"--belief must be nominal, measured or both, got {text!r}")
    return tuple(_BELIEFS[name] for name in names)


def levels_in(text: str | None) -> dict[str, tuple[str | float, ...]]:
    """Read which levels of which factors cells are picked by; a factor may be there repeatedly.

    >>> levels_in("qubits=6, demand=hotspot,demand=scheduled"), levels_in(None)
    ({'qubits': (6.0,), 'demand': ('hotspot', 'scheduled')}, {})
    """
    found: dict[str, tuple[str | float, ...]] = {}
    for part in [] if text is None else text.split(","):
        name, equals, said = (piece.strip() for piece in part.partition("="))
        if not equals or not said:
            raise InputError(f"--where must be FACTOR=LEVEL, with commas between; got {part!r}")
        if name not in _FACTORS:
            meant = near(name, _FACTORS)
            raise InputError(
                f"--where: factor {name!r} is unknown{meant}; it is {', '.join(_FACTORS)}"
            )
        found[name] = (*found.get(name, ()), said if name in _WORDS else _number(name, said))
    return found


def _number(name: str, said: str) -> float:
    with suppress(ValueError):
        value = float(said)
        if math.isfinite(value):
            return value
    raise InputError(f"--where: {name} must be a number, got {said!r}")


def _picked(found: Sequence[Cell], levels: Mapping[str, Sequence[str | float]]) -> list[Cell]:
    """Return the cells that have one of the levels of every factor; InputError if there are none.

    Every level has to be there, so that no mistake in a number shrinks a comparison unseen.
    """
    for name, wanted in levels.items():
        there = sorted({level for cell in found if (level := getattr(cell, name)) is not None})
        for level in wanted:
            if level not in there:
                said = ", ".join(str(one) for one in there) or "none"
                raise InputError(f"--where: no cell has {name} {level}; it is {said}")
    picked = [
        cell
        for cell in found
        if all(getattr(cell, name) in wanted for name, wanted in levels.items())
    ]
    if not picked:
        raise InputError("--where: no cell has all of these levels together")
    return picked


def chosen_cells(
    preset: str,
    sample: int | None,
    topology: str | None,
    demand: str | None,
    seed: int,
    *,
    where: str | None = None,
    changes: str | None = None,
    service_s: Sequence[float] = (),
    beliefs: Sequence[bool] = (),
    span_s: tuple[float, float] = (60.0, 10.0),
) -> list[Cell]:
    """Return the cells to play, after checking that their networks and demands exist.

    Networks or demands of the user's (lists have commas) replace those of every cell, and cells
    that become equal are played once. Loads in pairs/s are those of 100 nodes; other networks get
    them in proportion. Of these cells ``where`` picks those with certain levels
    (:func:`levels_in`), and ``sample`` is taken from what is left. ``changes`` go into every cell,
    and every cell is there once for each of ``service_s`` and of ``beliefs`` (:func:`beliefs_in`).
    ``span_s`` are the seconds that count and the warm-up.
    """
    found = cells(preset)
    networks, demands = names_in(topology, "--topology"), names_in(demand, "--demand")
    if networks:
        found = [_moved(cell, name) for name in networks for cell in found]
    if demands:
        found = [_asked(cell, name) for name in demands for cell in found]
    if changes is not None:
        found = [msgspec.structs.replace(cell, changes=changes) for cell in found]
    found = _picked(list(dict.fromkeys(found)), levels_in(where))
    if sample is not None:
        found = sampled(found, sample, seed)
    if service_s:
        found = [msgspec.structs.replace(cell, service_s=s) for cell in found for s in service_s]
    if beliefs:
        found = [
            msgspec.structs.replace(cell, measured_belief=b) for cell in found for b in beliefs
        ]
    seconds, warmup_s = span_s
    if networks or demands or changes is not None:
        for cell in {(cell.topology, cell.demand): cell for cell in reversed(found)}.values():
            # Building is cheap and finds every mistake in names and files; any knee will do.
            with suppress(NoDemand):
                build(cell, seed, seconds=seconds, warmup_s=warmup_s, knee=lambda *_: 1.0)
    return found


def _moved(cell: Cell, topology: str) -> Cell:
    load_hz = cell.load_hz
    if load_hz is not None:
        load_hz *= len(load_topology(topology, seed=0).nodes) / _PAPER_NODES
    return msgspec.structs.replace(cell, topology=topology, load_hz=load_hz)


def _asked(cell: Cell, demand: str) -> Cell:
    if is_file(demand):
        # A file brings its own load, so loads make no different cells.
        return msgspec.structs.replace(cell, demand=demand, load_hz=0.0, knee_fraction=None)
    return msgspec.structs.replace(cell, demand=demand)


def load_label(cell: Cell) -> str:
    """Say the load of a cell.

    >>> load_label(cells("paper")[0]), load_label(cells("metro")[0])
    ('20 pairs/s', '30 % of the knee')
    """
    if cell.knee_fraction is not None:
        return f"{100 * cell.knee_fraction:g} % of the knee"
    return f"{cell.load_hz:g} pairs/s" if cell.load_hz else "load of the file"


def label(cell: Cell) -> str:
    """Name a cell in one line, as errors and reports do.

    >>> label(cells("paper")[0])
    'mesh, poisson, 20 pairs/s, deadline 1 s, cutoff 1.5 s, 16 qubits'
    """
    parts = [
        cell.topology,
        cell.demand,
        load_label(cell),
        f"deadline {cell.deadline_s:g} s",
        f"cutoff {cell.cutoff_s:g} s",
        f"{cell.qubits} qubits",
    ]
    return ", ".join([*parts, *_own(cell)])


def _own(cell: Cell) -> Sequence[str]:
    """Say what presets leave alone and a wish may have changed."""
    said = [] if cell.service_s == 0.01 else [f"service {1e3 * cell.service_s:g} ms"]
    said += ["links as tested"] if cell.measured_belief else []
    return [*said, *([f"changes {cell.changes}"] if cell.changes else [])]

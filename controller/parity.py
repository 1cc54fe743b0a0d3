"""Whether the twin takes the decisions of a live run: slot by slot, each token and each pair.

The run went over sockets: agents decided what they were shown, messages carried it, a backend
executed. The twin plays the same setting in one process without any of that. Where nobody learns
the two must not differ in a single decision. A replay is given the recorded decisions; this is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from controller.entries import acts_of, note, rows_of
from controller.game import Game, player_of, world_of
from controller.plan import delay_slots, plan_of
from controller.policy_file import HEURISTIC, SHIPPED, actor_of, start_weights
from controller.recorded import (
    Slot,
    differs,
    first_difference,
    read_event,
    scenario_of_record,
    setting_of,
)
from controller.rivals.allocator import Allocator, find
from controller.rivals.dpem import Twin
from controller.setting import Setting
from quantum.errors import InputError, RecordError
from quantum.ledger import new_ledger, swaps_ahead
from quantum.ledger.events import take_events
from quantum.record import Digest, Record
from quantum.scenario import Scenario

__all__ = ["Parity", "Played", "check_playable", "parity", "twin_slots"]

_EVENTS = 8192


class Played(NamedTuple):
    """One slot of the twin: what was asked, what nodes did with their tokens, what pairs came."""

    asked: list[int]
    acts: list[Any]
    served: list[Any]


@dataclass(frozen=True)
class Parity:
    """How much was the same; ``decision_digest`` is that of the twin and of the run."""

    slots: int
    requests: int
    decisions: int
    pairs: int
    decision_digest: str


def twin_slots(setting: Setting, scenario: Scenario) -> Iterator[Played]:
    """Play a setting that does not learn in the twin, from the first slot to the horizon."""
    allocator, physics = find(setting.allocator), setting.physics
    rounds = physics.get("max_rounds", 0)
    game = Game(
        scenario=scenario,
        world=world_of(scenario, **physics),
        plan=plan_of(scenario, max_rounds=rounds),
        bound=0.0,
        max_rounds=rounds,
    )
    if not _has_twin(allocator):
        raise _no_twin(allocator.name)
    if allocator.name == "dpem":
        yield from _by_minds(game, allocator, setting)
    else:
        yield from _by_rule(game, allocator)


def _by_minds(game: Game, allocator: Allocator, setting: Setting) -> Iterator[Played]:
    slots: list[Mapping[str, Any]] = []

    def journal(event: Mapping[str, Any]) -> None:
        if event["event"] == "slot":
            slots.append(event)

    heard = game.heard_by(allocator)
    delay = delay_slots(game.scenario, central=False)
    rule = allocator.rule(game.scenario, game.plan)
    ledger = new_ledger(
        heard.world,
        delay_slots=delay,
        events=_EVENTS,
        composites=swaps_ahead(heard.world, rule),
    )
    policy = setting.policy or SHIPPED
    actor = None if policy == HEURISTIC else actor_of(start_weights(policy), game.world.n)
    twin = Twin(
        game,
        ledger,
        learn=False,
        actor=actor,
        rule=rule,
        journal=journal,
    )
    for slot in range(game.world.horizon):
        twin(slot + 1)
        yield Played(slots[0]["asked"], slots[0]["acts"], slots[0]["served"])
        slots.clear()


def _by_rule(game: Game, allocator: Allocator) -> Iterator[Played]:
    delay = delay_slots(game.scenario, central=True)
    ledger = new_ledger(game.heard_by(allocator).world, delay_slots=delay, events=_EVENTS)
    play = player_of(game, allocator)
    for slot in range(game.world.horizon):
        play(ledger, slot + 1)
        # A node asks in the slot in which it hears of a request.
        asked = np.flatnonzero(game.world.request.told == slot).tolist()
        yield Played(asked, acts_of(ledger), rows_of(take_events(ledger)))


def check_playable(record: Record) -> None:
    """Raise :class:`InputError` for runs that the twin cannot play, see :func:`parity`."""
    setting = setting_of(record)
    if setting.rack is not None:
        raise InputError("the twin has no instruments: it plays runs on simulators only")
    if setting.learn and not find(setting.allocator).central:
        raise InputError("the run learned; the twin decides as a run with --no-learn does")
    if not record.seal.complete:
        raise InputError("the run was broken off; the twin plays whole runs")
    if not _has_twin(find(setting.allocator)):
        raise _no_twin(setting.allocator)


def _has_twin(allocator: Allocator) -> bool:
    return allocator.name == "dpem" or (allocator.play is None and allocator.central)


def _no_twin(name: str) -> InputError:
    return InputError(f"allocator {name}: a live run plays dpem and central rules as the twin does")


def parity(record: Record) -> Parity:
    """Compare a run with the twin; :class:`RecordError` names the first slot that differs.

    Raises :class:`InputError` for runs that the twin cannot play: those that learn, those with
    instruments, and those that were broken off.
    """
    check_playable(record)
    setting, scenario = scenario_of_record(record)
    live = (read_event(number, raw) for number, raw in enumerate(record.events, 2))
    digest, requests, decisions, pairs, count = Digest(), 0, 0, 0, 0
    said = (event for event in live if isinstance(event, Slot))
    for slot, (event, played) in enumerate(zip(said, twin_slots(setting, scenario), strict=False)):
        if sorted(played.asked) != sorted(event.asked):
            raise differs(slot, f"in the twin {played.asked} ask, in the run {list(event.asked)}")
        acts = [tuple(act[:3]) for act in played.acts]
        recorded = [act[:3] for act in event.acts]
        if acts != recorded:
            raise differs(slot, _first_act(acts, recorded))
        served = [list(row) for row in played.served]
        if served != event.served:
            raise differs(slot, f"in the twin, {first_difference(served, event.served)}")
        note(digest, slot, played.acts, played.served)
        requests, count = requests + len(played.asked), slot + 1
        decisions, pairs = decisions + len(acts), pairs + len(served)
    found = digest.hexdigest()
    if record.summary is not None and record.summary.get("decision_digest") != found:
        raise RecordError(f"the twin's digest is {found}, not that of the summary")
    return Parity(count, requests, decisions, pairs, found)


def _first_act(acts: list[Any], recorded: list[Any]) -> str:
    """Say which decision is the first that the twin took otherwise."""
    for one, other in zip(acts, recorded, strict=False):
        if one != other:
            return f"the twin decided {list(one)} (node, token, link), the run {list(other)}"
    return f"the twin took {len(acts)} decisions, the run {len(recorded)}"

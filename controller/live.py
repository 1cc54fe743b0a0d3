"""One live run: the broker here, agents and workers as processes, everything on the record.

The order of things: the scenario and its plan, the rivals in the twin (same draws), the processes,
the slots, the summary, the seal.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from controller.attended import Attended
from controller.broker import Broker
from controller.chronicle import Chronicle
from controller.dispatch import Dispatch, Rules
from controller.game import Game, play, prepare
from controller.interrupts import Interrupts
from controller.meeting import BrokerConfig
from controller.parts import Guests, OwnParts, Parts
from controller.policy_file import HEURISTIC, SHIPPED, start_weights
from controller.pulsing import Pulses
from controller.rivals.allocator import find, find_live
from controller.rivals.dpem import learning_of, rules_of
from controller.series import Series
from controller.setting import Setting, scenario_of
from controller.summary import rival_rows, summarise
from quantum import twin
from quantum.changes import to_csv
from quantum.compiled import is_compiled
from quantum.egp import Brief, Telemetry
from quantum.errors import DeviceError
from quantum.flows import knee
from quantum.logs import note
from quantum.rack import load_rack
from quantum.record import RecordWriter
from quantum.topology import to_json

__all__ = ["Run", "Stage", "live_rules", "run_live"]

#: Results of instruments count after so long: a change of basis must not stop the clock.
LAB_LAG_S = 0.5

#: What is said besides where kernels of this version were never compiled.
FIRST = "; kernels are compiled first, once, for about two minutes"

#: Tells what a run is doing: a word for people, and the telemetry when there is some.
Stage = Callable[[str, Telemetry | None], None]


@dataclass(frozen=True, eq=False)
class Run:
    """What came of a run: the summary (keys of ``dpem run --json``), series and rivals.

    ``lost`` says why the instruments of a run were given up, if they were.
    """

    summary: dict[str, Any]
    series: dict[str, list[float]]
    rivals: dict[str, dict[str, Any]]
    interrupted: bool
    lost: str


def run_live(
    setting: Setting,
    folder: Path,
    stage: Stage,
    *,
    pace: float | None = None,
    meeting: BrokerConfig | None = None,
) -> Run:
    """Play a setting for real and leave a sealed record in ``folder``.

    Agents and workers are started here, or come to ``meeting`` from where they were started.
    ``pace`` is the most seconds of network time in a second, without limit unless given; a
    laboratory always follows the clock. Nothing else depends on it.

    Ctrl-C and lost instruments end it early: all processes go, the record is sealed as incomplete,
    and the run says so. Where no slot was played, nothing is left in ``folder``.
    """
    with Interrupts() as interrupts, Attended(folder, interrupts.check) as attended:

        def said(word: str, telemetry: Telemetry | None) -> None:
            if telemetry is None:
                attended.say(word)
            stage(word, telemetry)

        try:
            return _run(setting, folder, said, attended, pace, meeting)
        except Exception as wrong:
            # Kernels that are being compiled answer a second Ctrl-C with errors of their own.
            if interrupts.asked:
                raise KeyboardInterrupt from wrong
            raise


def _run(
    setting: Setting,
    folder: Path,
    stage: Stage,
    attended: Attended,
    pace: float | None,
    meeting: BrokerConfig | None,
) -> Run:
    began = time.monotonic()
    # Whoever waits for minutes wants to know why, and that it happens once.
    once = "" if is_compiled(str(twin.__file__)) else FIRST
    stage(f"preparing the network{once}", None)
    physics = setting.physics
    scenario = scenario_of(setting, partial(knee, max_rounds=physics.get("max_rounds", 0)))
    if setting.rack is None and setting.cell.knee_fraction is not None:
        # A share of the knee is worked out once; agents and replays are told what it came to.
        setting = msgspec.structs.replace(setting, load_hz=scenario.trace.load_hz)
    game = prepare(scenario, **physics)
    attended.check()
    header = {
        "setting": msgspec.to_builtins(setting),
        "dpem": _version(),
        "slots": scenario.slots,
        "warmup_slots": scenario.warmup_slots,
        "horizon": game.world.horizon,
    }
    empty = folder.is_dir()
    record = RecordWriter(folder, header)
    dispatch = Dispatch(live_rules(setting, game), record.append)
    try:
        with record:
            record.write_file("network.json", to_json(scenario.network))
            if setting.changes is not None:
                record.write_file("changes.csv", to_csv(scenario.changes, scenario.network))
            rivals = {}
            for name in setting.rivals:
                stage(f"playing {name} in the twin{once}", None)
                rivals[name] = rival_rows(play(game, find(name)))
                attended.check()
            parts: Parts
            if meeting is None:
                parts = OwnParts(setting, len(dispatch.rules.groups))
            else:
                parts = Guests(meeting)
            series, wall_s, interrupted, lost = _play(
                setting, game, dispatch, record, stage, attended, pace, parts
            )
            stage("summing up", None)
            summary = summarise(setting, game, dispatch, wall_s=wall_s)
            summary["rivals"] = rivals
            summary["run_dir"] = str(folder)
            summary["total_s"] = round(time.monotonic() - began, 3)
            record.write_file("series.json", msgspec.json.encode(series.columns))
            for name, data in pictures(summary, series, rivals).items():
                record.write_file(name, data)
            record.close(summary, complete=not (interrupted or lost))
    except BaseException:
        if dispatch.slot == 0:
            shutil.rmtree(folder)
            if empty:
                folder.mkdir()
        raise
    return Run(summary, series.columns, rivals, interrupted, lost)


def pictures(
    summary: dict[str, Any], series: Series, rivals: dict[str, dict[str, Any]]
) -> dict[str, bytes]:
    """Draw the figure of a run, as PNG and SVG."""
    from controller.picture import run_figure

    return {
        f"run.{kind}": run_figure(series.columns, summary, rivals, kind=kind)
        for kind in ("png", "svg")
    }


def live_rules(setting: Setting, game: Game) -> Rules:
    """Return the rules of a run, as the broker plays it."""
    world, lab = game.world, setting.rack is not None
    groups = tuple(
        tuple(part.tolist())
        for part in np.array_split(np.arange(world.n), min(setting.agents, world.n))
    )
    rules = rules_of(
        game,
        groups,
        allocator=find_live(setting.allocator),
        learn=setting.learn,
        measured=lab,
        round_s=setting.round_s,
        gated=setting.gate,
        federation=setting.federation,
        secret=lab,
    )
    policy = setting.policy or SHIPPED
    return replace(
        rules,
        start=None if policy == HEURISTIC else start_weights(policy),
        window_s=setting.trust_window_s,
        lag_slots=round(LAB_LAG_S / world.slot_s) if lab else rules.lag_slots,
        patience_s=setting.patience_s,
    )


def _play(
    setting: Setting,
    game: Game,
    dispatch: Dispatch,
    record: RecordWriter,
    stage: Stage,
    attended: Attended,
    pace: float | None,
    parts: Parts,
) -> tuple[Series, float, bool, str]:
    """Bring the parts of a run together, play the slots, let them go."""
    world = game.world
    series = Series(dispatch)
    interrupted, lost, broken = False, "", ""
    pulse = None
    if setting.rack is not None:
        agents, workers = parts.names()
        silence_s = load_rack(Path(setting.rack)).safety.agent_s
        pulse = Pulses(parts.keys, agents, workers, silence_s=silence_s)
    with parts:

        def check() -> None:
            attended.check()
            if pulse is not None and pulse.look(dispatch.slot):
                raise DeviceError(f"{pulse.lost}: the rack is latched in its safe state")

        broker = Broker(
            parts.keys,
            parts.admitted,
            listen=parts.listen,
            backend=setting.backend,
            alive=parts.check,
            check=check,
        )
        began = time.monotonic()
        try:
            parts.begin(broker, _briefs(setting, dispatch.rules), pulse.address if pulse else "")
            if pulse is not None:
                pulse.watch(parts.ids())
            stage("waiting for agents and workers", None)
            note(
                "run",
                agents=broker.endpoints.agents,
                workers=broker.endpoints.workers,
                telemetry=broker.endpoints.telemetry,
                network=dispatch.rules.network.name,
                nodes=world.n,
                slots=world.horizon,
                backend=setting.backend,
                allocator=setting.allocator,
                learn=setting.learn,
                seed=setting.seed,
            )
            broker.gather(dispatch, setting.workers, timeout_s=parts.patience_s)
            began = time.monotonic()
            note("playing", slots=world.horizon)
            if pulse is not None:
                pulse.begin()

            stage("playing", None)
            chronicle = Chronicle(dispatch, series, game.bound)
            record.append(chronicle.begun())

            def progress(telemetry: Telemetry) -> None:
                series.note(telemetry)
                record.append(chronicle.seen(telemetry))
                record.flush()
                stage("playing", telemetry)
                note(
                    "progress",
                    level="debug",
                    slot=telemetry.slot,
                    requested=telemetry.requested,
                    delivered=telemetry.delivered,
                    executed=telemetry.executed,
                    rounds=telemetry.rounds,
                )

            paced = None
            if setting.rack is not None or pace is not None:
                paced = world.slot_s / (pace or 1.0)
            broker.play(dispatch, progress=progress, slot_s=paced)
        except KeyboardInterrupt:
            if dispatch.slot == 0:
                raise
            interrupted = True
            note("interrupted", level="warning", slot=dispatch.slot)
            if attended.wish is not None:
                wish = msgspec.structs.asdict(attended.wish)
                record.append({"event": "stopped", "slot": dispatch.slot, **wish})
        except DeviceError as wrong:
            lost = str(wrong)
            note("instruments lost", level="error", slot=dispatch.slot, detail=lost)
            record.append({"event": "lost", "slot": dispatch.slot, "detail": lost})
        except Exception as wrong:
            broken = str(wrong) or type(wrong).__name__
            note("broken", level="error", slot=dispatch.slot, detail=broken)
            raise
        finally:
            wall_s = time.monotonic() - began
            if pulse is not None:
                pulse.close(broken)
            broker.close(interrupted=interrupted or bool(lost))
            note("ended", slot=dispatch.slot, wall_s=round(wall_s, 3))
    return series, wall_s, interrupted, lost


def _briefs(setting: Setting, rules: Rules) -> list[Brief]:
    """Return what the agent of each group of nodes has to know."""
    learning, start = learning_of(rules), rules.start
    return [
        Brief(
            nodes=nodes,
            setting=msgspec.json.encode(setting),
            targets=np.asarray(rules.rule.targets, dtype="<f8").tobytes(),
            policy=b"" if start is None else np.asarray(start, dtype="<f8").tobytes(),
            clip_norm=learning.clip_norm,
            local_noise=learning.local_noise,
            secret=learning.secret,
        )
        for nodes in rules.groups
    ]


def _version() -> str:
    from importlib.metadata import version

    return version("dpem")

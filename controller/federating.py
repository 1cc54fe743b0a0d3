"""The experiments of ``dpem federate``: schemes beside each other on the same draws."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from controller.audit import audit, central_worlds, local_worlds, worlds_for
from controller.federated_tasks import ForecastTask, PolicyTask, Task
from controller.federation import Federation, Scheme, noise_of
from controller.poison import Poison

__all__ = ["experiment"]

Row = tuple[str, Federation, Poison | None, bool]


def experiment(
    federation: Federation,
    *,
    clients: int,
    rounds: int,
    tasks: tuple[str, ...],
    demand: str,
    seeds: tuple[int, ...],
    poison: Poison | None,
    audited: bool,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Play all schemes on all tasks and seeds; the result is what ``--json`` writes.

    ``loss`` is performance without privacy and liars minus that of a row, paired by seed.
    """
    topology = "mesh" if clients == 100 else f"mesh-{clients}"
    schemes = _schemes(federation, poison)
    total, done = len(tasks) * len(schemes) * len(seeds), 0
    rows: list[dict[str, Any]] = []
    units: dict[str, str] = {}
    for name in tasks:
        made: list[Task] = [_task(name, topology, demand, rounds, seed) for seed in seeds]
        units[name] = made[0].unit
        clean = np.zeros(len(seeds))
        for number, (scheme, how, liars, bounded) in enumerate(schemes):
            played = []
            for task in made:
                progress(f"{name}: {scheme}", done, total)
                played.append(task.play(how, poison=liars, bounded=bounded))
                done += 1
            values = np.array([one.performance for one in played])
            clean = values if number == 0 else clean
            rows.append(
                {
                    "task": name,
                    "scheme": scheme,
                    "privacy": how.privacy,
                    "aggregator": how.aggregator,
                    "poison": 0.0 if liars is None else liars.share,
                    "attack": None if liars is None else liars.attack,
                    "bounded": bounded,
                    "epsilon": played[0].epsilon,
                    "delta": played[0].delta,
                    "federated_rounds": played[0].rounds,
                    "performance": float(values.mean()),
                    "performances": values.tolist(),
                    "loss": float((clean - values).mean()),
                    "losses": (clean - values).tolist(),
                    "dropped": sum(one.dropped for one in played),
                }
            )
    audits = _audits(federation, clients, rounds, progress) if audited else []
    return {
        "clients": clients,
        "rounds": rounds,
        "seeds": list(seeds),
        "privacy": federation.privacy,
        "aggregator": federation.aggregator,
        "units": units,
        "rows": rows,
        "audits": audits,
    }


def _task(name: str, topology: str, demand: str, rounds: int, seed: int) -> Task:
    kind = PolicyTask if name == "policy" else ForecastTask
    return kind(topology, demand, rounds, seed)


def _schemes(federation: Federation, poison: Poison | None) -> list[Row]:
    """Return what is compared; the first is without privacy and liars."""
    none = Federation(privacy="none", tolerated=federation.tolerated)
    rows: list[Row] = [("no privacy", none, None, True)]
    central = msgspec.structs.replace(federation, privacy="central", aggregator="mean")
    local = msgspec.structs.replace(federation, privacy="local", clipping="fixed")
    rows += [("central", central, None, True), ("local", local, None, True)]
    if poison is None:
        return rows
    rows.append(("liars, plain mean", none, poison, False))
    rows.append(("liars, clipped mean", none, poison, True))
    for name in ("median", "trimmed-mean", "krum"):
        how = msgspec.structs.replace(none, aggregator=name)
        rows.append((f"liars, {name}", how, poison, True))
    if federation.privacy == "local":
        rows.append((f"liars, {federation.aggregator}, local", federation, poison, True))
    return rows


def _audits(
    federation: Federation, clients: int, rounds: int, progress: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    found = []
    for privacy in ("central", "local"):
        how = msgspec.structs.replace(federation, privacy=privacy, aggregator="mean")
        if privacy == "local":
            how = msgspec.structs.replace(how, clipping="fixed")
        scheme = Scheme(how, clients, noise_multiplier=noise_of(how, clients, rounds))
        worlds = central_worlds if privacy == "central" else local_worlds
        spent, delta = scheme.epsilon(rounds), scheme.delta
        if spent is None or delta is None:
            continue
        trials = worlds_for(spent)
        progress(f"audit: {privacy}", 0, trials)
        done = audit(
            worlds(scheme, rounds), privacy=privacy, epsilon=spent, delta=delta, trials=trials
        )
        found.append(msgspec.to_builtins(done))
    return found

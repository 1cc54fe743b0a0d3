"""The experiments of ``dpem federate``: schemes beside each other on the same draws."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from controller.audit import Audit, audit, central_worlds, local_worlds, worlds_for
from controller.federated_findings import PLAIN, Finding, Row, findings
from controller.federated_tasks import ForecastTask, Played, PolicyTask, Task
from controller.federation import Federation, Scheme, noise_of
from controller.poison import Poison
from controller.setting import Setting
from controller.statistics import paired
from quantum.errors import InputError
from quantum.ledger.state import Floats
from quantum.seeding import generator

__all__ = ["Federated", "experiment"]


class Federated(msgspec.Struct, frozen=True, kw_only=True):
    """All that was played; what ``--json`` writes. ``units`` are those of the tasks."""

    clients: int
    rounds: int
    seeds: tuple[int, ...]
    privacy: str
    aggregator: str
    units: dict[str, str]
    rows: tuple[Row, ...]
    audits: tuple[Audit, ...]
    findings: tuple[Finding, ...]

    @property
    def headline(self) -> str:
        """What was found, in a line."""
        verdicts = [one.holds for one in self.findings]
        if not verdicts:
            return f"Federated learning of {self.clients} nodes, with and without privacy"
        said = f"{verdicts.count(True)} of {len(verdicts)} claims hold"
        if None in verdicts:
            said += f", {verdicts.count(None)} not decided by {len(self.seeds)} seed(s)"
        return f"Federated learning of {self.clients} nodes: {said}"


class _Scheme(msgspec.Struct, frozen=True):
    name: str
    federation: Federation
    poison: Poison | None = None
    bounded: bool = True


def experiment(
    federation: Federation,
    *,
    setting: Setting,
    clients: int,
    rounds: int,
    tasks: tuple[str, ...],
    seeds: tuple[int, ...],
    poison: Poison | None,
    audited: bool,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Federated:
    """Play all schemes on all tasks and seeds, in a mesh of ``clients`` nodes.

    The ``setting`` gives preset, demand and load. ``progress`` is told what is played, how far it
    is, and of how much. Raises InputError where a setting makes no game.
    """
    if federation.alone:
        raise InputError("aggregator none averages nothing; it is compared by --convergence")
    topology = "mesh" if clients == 100 else f"mesh-{clients}"
    schemes = _schemes(federation, poison)
    total = len(tasks) * len(schemes) * len(seeds)
    rows: list[Row] = []
    units: dict[str, str] = {}
    for name in tasks:
        played: list[list[Played]] = [[] for _ in schemes]
        # Seed by seed, so that the games of one seed only are in memory.
        for turn, seed in enumerate(seeds):
            here = msgspec.structs.replace(setting, topology=topology, seed=seed).check()
            task: Task = (PolicyTask if name == "policy" else ForecastTask)(here, rounds)
            units[name] = task.unit
            for number, one in enumerate(schemes):
                done = len(rows) * len(seeds) + turn * len(schemes) + number
                progress(f"{name}: {one.name}", done, total)
                found = task.play(one.federation, poison=one.poison, bounded=one.bounded)
                played[number].append(found)
        clean = np.array([one.performance for one in played[0]])
        rows += [
            _row(name, one, each, clean, seeds) for one, each in zip(schemes, played, strict=True)
        ]
    audits = tuple(
        _audit(federation, privacy, clients, rounds, progress)
        for privacy in ("central", "local")
        if audited
    )
    return Federated(
        clients=clients,
        rounds=rounds,
        seeds=seeds,
        privacy=federation.privacy,
        aggregator=federation.aggregator,
        units=units,
        rows=tuple(rows),
        audits=audits,
        findings=tuple(findings(rows, audits)),
    )


def _schemes(federation: Federation, poison: Poison | None) -> list[_Scheme]:
    """Return what is compared; the first is without privacy and liars."""
    none = Federation(privacy="none", tolerated=federation.tolerated)
    central = msgspec.structs.replace(federation, privacy="central", aggregator="mean")
    local = msgspec.structs.replace(central, privacy="local", clipping="fixed")
    schemes = [_Scheme("no privacy", none), _Scheme("central", central), _Scheme("local", local)]
    if poison is None:
        return schemes
    schemes.append(_Scheme(PLAIN, none, poison, bounded=False))
    schemes.append(_Scheme("liars, clipped mean", none, poison))
    for name in ("median", "trimmed-mean", "krum"):
        how = msgspec.structs.replace(none, aggregator=name)
        schemes.append(_Scheme(f"liars, {name}", how, poison))
    robust = federation.aggregator if federation.aggregator != "mean" else "trimmed-mean"
    both = msgspec.structs.replace(local, aggregator=robust)
    schemes.append(_Scheme(f"liars, {robust}, local", both, poison))
    return schemes


def _row(
    task: str, scheme: _Scheme, played: Sequence[Played], clean: Floats, seeds: Sequence[int]
) -> Row:
    values = np.array([one.performance for one in played])
    rng = generator(0, "federate intervals")
    found = paired(values, clean, np.array(seeds), rng=rng)
    first, liars = played[0], scheme.poison
    return Row(
        task=task,
        scheme=scheme.name,
        privacy=scheme.federation.privacy,
        aggregator=scheme.federation.aggregator,
        bounded=scheme.bounded,
        poison=0.0 if liars is None else liars.share,
        attack=None if liars is None else liars.attack,
        epsilon=first.epsilon,
        delta=first.delta,
        federated_rounds=first.rounds,
        performance=float(values.mean()),
        performances=tuple(values.tolist()),
        loss=0.0 - found.difference,
        loss_low=_known(0.0 - found.t_high),
        loss_high=_known(0.0 - found.t_low),
        kept=_known(1.0 + found.relative),
        kept_low=_known(1.0 + found.low),
        kept_high=_known(1.0 + found.high),
        dropped=sum(one.dropped for one in played),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _audit(
    federation: Federation,
    privacy: str,
    clients: int,
    rounds: int,
    progress: Callable[[str, int, int], None],
) -> Audit:
    """Audit one kind of privacy as it would be used among so many clients."""
    how = msgspec.structs.replace(federation, privacy=privacy, aggregator="mean")
    if privacy == "local":
        how = msgspec.structs.replace(how, clipping="fixed")
    scheme = Scheme(how, clients, noise_multiplier=noise_of(how, clients, rounds))
    spent, delta = scheme.epsilon(rounds), scheme.delta
    assert spent is not None
    assert delta is not None
    trials = worlds_for(spent)
    return audit(
        (central_worlds if privacy == "central" else local_worlds)(scheme, rounds),
        privacy=privacy,
        epsilon=spent,
        delta=delta,
        trials=trials,
        progress=lambda done: progress(f"audit: {privacy}", done, trials),
    )

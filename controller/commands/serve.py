"""``dpem serve``: a service that stays up and hands out pairs."""

import contextlib
import gc
import sys
import time
from typing import Any

import click

from quantum.log_options import log_config, log_options
from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("serve")
@click.option("--config", "config_path", metavar="FILE", help="The service's TOML file.")
@click.option("--address", metavar="TCP", help="Listen here instead; port 0 for any free one.")
@click.option("--topology", metavar="NAME|FILE", help="Network: mesh, surfnet, a file, ...")
@click.option("--allocator", metavar="NAME", help="Whose rule keeps the stock: mean-rate, ...")
@click.option(
    "--backend", metavar="NAME", help="Where pairs are executed: inline (default), or by workers."
)
@click.option("--pace", type=click.Choice(["wall", "virtual"]), help="How network time goes on.")
@click.option("--journal", metavar="FILE", help="The journal's file.")
@click.option("--armed", is_flag=True, help="A journal that survives a power cut (durable).")
@log_options
@json_option
def command(
    config_path: str | None,
    address: str | None,
    topology: str | None,
    allocator: str | None,
    backend: str | None,
    pace: str | None,
    journal: str | None,
    armed: bool,
    log: str | None,
    log_level: str | None,
    log_file: str | None,
    json_path: str | None,
) -> None:
    """Keep pairs in stock and hand them to applications, until Ctrl-C or SIGTERM.

    Prints a line when it listens. What was answered is in the journal: after a restart, however the
    service ended, a request sent again gets the same answer. See docs/service.md.
    """
    import msgspec

    from controller.interrupts import Interrupts
    from controller.security.keyring import KeyFolder
    from controller.service.building import desk_of
    from controller.service.config import INLINE, load_config
    from controller.service.crew import Crew
    from controller.service.journal import Journal
    from controller.service.loop import Loop
    from controller.service.metrics import Metrics
    from controller.service.open_files import make_room
    from controller.service.planning import Planned, Planner
    from quantum import logs

    wanted = log_config(log, log_level, log_file)
    logs.start(wanted, "serve")

    def tell(line: str) -> None:
        """Tell people; in the log, where there is one."""
        if wanted is None:
            click.echo(f"dpem: {line}", err=True)
        else:
            logs.note("notice", level="warning", detail=line)

    config = load_config(config_path)
    network: dict[str, Any] = {"topology": topology, "allocator": allocator}
    given = {name: value for name, value in network.items() if value is not None}
    config = msgspec.structs.replace(
        config,
        address=address or config.address,
        backend=backend or config.backend,
        journal=journal or config.journal,
        durable=armed or config.durable,
        network=msgspec.structs.replace(config.network, **given),
        terms=msgspec.structs.replace(config.terms, pace=pace) if pace else config.terms,
    ).check()
    pair = config.own_pair()
    executes = config.backend != INLINE
    with Interrupts() as interrupts, contextlib.ExitStack() as open_things:
        kept = Journal(config.journal_path, durable=config.durable)
        open_things.callback(kept.close)
        crew = open_things.enter_context(Crew(config))
        # The keys of the crew are among those that are admitted.
        admitted = KeyFolder(config.folder)
        crowded = make_room(config.terms.sessions)
        for line in (*admitted.troubles, *([crowded] if crowded else [])):
            tell(line)
        desk = desk_of(
            config.setting,
            config.terms,
            kept,
            admitted.ring,
            now_s=time.monotonic(),
            work=config.workers if executes else None,
        )
        loop = Loop(
            desk,
            config.address,
            pair,
            admitted,
            workers_at=config.workers.address,
            backend=config.backend,
        )
        open_things.callback(loop.close)
        metrics = None
        if config.metrics is not None:
            metrics = Metrics(config.metrics)
            open_things.callback(metrics.close)
        # Nothing is said before all can be reached.
        interrupts.check()
        net, where = desk.stock.network, loop.workers.address if loop.workers else ""
        click.echo(f"serving {net.name} at {loop.address}, key {pair.public}")
        logs.note(
            "serving",
            network=net.name,
            nodes=len(net.nodes),
            address=loop.address,
            links=len(net.links),
            changes=desk.altering.standing.changes,
            start=desk.sessions.epoch,
            journal=str(config.journal_path),
            durable=config.durable,
            pace=config.terms.pace,
            backend=config.backend,
            workers=where,
        )
        if where:
            click.echo(f"workers with backend {config.backend} at {where}")
            crew.start(where, pair.public)
        if metrics is not None:
            logs.note("metrics", address=metrics.address)
            click.echo(f"metrics at {metrics.address}")
        changed = desk.altering
        if changed.standing.changes:
            click.echo(f"the network is that of the journal: {changed.standing.summary()}")
        sys.stdout.flush()
        # What was built stays; looking through it for rubbish takes milliseconds each time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

        planner, setting = Planner(), config.setting
        open_things.callback(planner.close)

        def over() -> bool:
            for line in crew.look(time.monotonic()):
                tell(line)
            if not changed.planned:
                if planner.change != changed.standing.changes:
                    planner.ask(changed.order(setting))
                found = planner.look()
                if isinstance(found, Planned):
                    changed.plan(*found)
                elif found is not None:
                    tell(found)
            return interrupts.asked

        loop.run(over, tell=tell, drain_s=config.drain_s, metrics=metrics)
    done = desk.counts()._asdict()
    if desk.work is not None:
        done |= desk.work.counts()._asdict()
    logs.note("ended", **done)
    write_json(done, json_path)

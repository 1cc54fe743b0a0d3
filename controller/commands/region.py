"""``dpem region``: the broker of one region of a network."""

import sys

import click

from quantum.log_options import log_config, log_options
from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("region")
@click.argument("name", metavar="NAME")
@click.option("--config", "config_path", required=True, metavar="FILE", help="The regions' file.")
@log_options
@json_option
def command(
    name: str,
    config_path: str,
    log: str | None,
    log_level: str | None,
    log_file: str | None,
    json_path: str | None,
) -> None:
    """Broker the links of one region, and pairs to other regions, until Ctrl-C or SIGTERM.

    Prints a line when it listens. After a restart, however it ended, a request sent again gets the
    same answer, and what was decided goes on. See docs/regions.md.
    """
    import time

    from controller.interrupts import Interrupts
    from controller.regions.building import (
        OwnService,
        journals_of,
        open_journal,
        region_loop,
        territory_of,
    )
    from controller.regions.config import load_regions
    from controller.security.keyring import KeyFolder
    from controller.service.journal import JournalFull
    from controller.service.open_files import make_room
    from quantum import logs
    from quantum.errors import DpemError

    wanted = log_config(log, log_level, log_file)
    logs.start(wanted, "region")

    def tell(line: str) -> None:
        if wanted is None:
            click.echo(f"dpem: {line}", err=True)
        else:
            logs.note("notice", level="warning", detail=line)

    config = load_regions(config_path)
    config.region(name)
    territory = territory_of(config)
    keys = config.own_pair(name)
    admitted = KeyFolder(config.folder)
    crowded = make_room(config.terms.sessions)
    for line in (*admitted.troubles, *([crowded] if crowded else [])):
        tell(line)
    with Interrupts() as interrupts:
        path, _ = journals_of(config.journal_folder, name)
        journal = open_journal(path, durable=config.durable)
        service = None
        try:
            service = OwnService(name, territory, config, keys)
            loop = region_loop(name, territory, config, journal, service, keys, admitted)
            try:
                interrupts.check()
                nodes = len(config.region(name).nodes)
                links = len(territory.parts[name].network.links)
                click.echo(
                    f"region {name}: {nodes} nodes, {links} links at {loop.address}, "
                    f"key {keys.public}"
                )
                sys.stdout.flush()
                logs.note("serving", region=name, address=loop.address, started=time.time())

                def over() -> bool:
                    service.check()
                    return bool(interrupts.asked)

                loop.run(over, tell=tell, drain_s=config.drain_s)
            except JournalFull as wrong:
                raise DpemError(f"the journal cannot be written: {wrong}") from wrong
            finally:
                loop.close()
        finally:
            if service is not None:
                service.close()
            journal.close()
    counts = loop.broker.counts()._asdict()
    logs.note("ended", **counts)
    write_json(counts, json_path)

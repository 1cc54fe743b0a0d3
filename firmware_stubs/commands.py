"""``dpem stub KIND``: run a firmware stub until it is stopped."""

import sys
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from quantum.errors import InputError
from quantum.output import json_option
from quantum.words import near

__all__ = ["command"]


class _WithTools(click.Command):
    """The command, and the tools that have the place of a kind: ``record`` and ``compare``."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        tool = _tool(args[0]) if args else None
        if tool is not None:
            return tool.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


def _tool(name: str) -> click.Command | None:
    if name not in ("record", "compare"):
        return None
    from firmware_stubs.tools import compare_command, record_command

    return record_command if name == "record" else compare_command


@click.command(name="stub", cls=_WithTools)
@click.argument("kind")
@click.option(
    "--bind",
    default="127.0.0.1:0",
    show_default=True,
    help="HOST:PORT; port 0 picks one. Instruments with two ports take HOST:PORT,PORT.",
)
@click.option("--control", default="127.0.0.1:0", show_default=True, help="Out-of-band HOST:PORT.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True)
@click.option("--fidelity", type=float, help="Fidelity of the source to phi_plus, 0-1.")
@click.option("--rate-hz", type=float, help="Pairs per second that the source emits.")
@click.option(
    "--speed",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds of bench time in a second of wall time: counts in a window grow by this factor.",
)
@click.option("--scenario", type=click.Path(path_type=Path), help="TOML: bench, switches, events.")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Listen on addresses that other machines can reach: anybody there may then use the stub.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With a rack: a stub for each instrument, also for those that have an address.",
)
@click.option("--until-eof", is_flag=True, help="Also stop when standard input is closed.")
@click.option(
    "--datalink",
    default="127.0.0.1:0",
    show_default=True,
    help="HOST:PORT of the time tags, where the instrument has them (id900).",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Below which the instrument may save files; none are saved without it.",
)
@json_option
def command(
    kind: str,
    bind: str,
    control: str,
    seed: int,
    fidelity: float | None,
    rate_hz: float | None,
    speed: float,
    scenario: Path | None,
    allow_remote: bool,
    everything: bool,
    until_eof: bool,
    datalink: str,
    folder: Path | None,
    json_path: str | None,
) -> None:
    """Run the firmware stub KIND (such as id900, polatis, websq, pc_rpc) until SIGINT or SIGTERM.

    The first line on standard output is "KIND ADDRESS control ADDRESS", for id900 followed by
    "datalink ADDRESS". Where KIND is a rack file (its name ends in .toml), all stubs of the rack
    run on one bench: a line for each, "NAME KIND ADDRESS control ADDRESS", and at last
    "bench RACK control ADDRESS".

    "dpem stub record KIND --address ADDRESS" writes a transcript of a real instrument, and
    "dpem stub compare TRANSCRIPT KIND" holds the stub to it; both have --help.
    """
    if kind.endswith(".toml"):
        _serve_rack(Path(kind), scenario, everything, json_path, until_eof)
        return
    if everything:
        raise InputError("--all is for rack files")
    import msgspec

    from firmware_stubs.control import Scenario, load_scenario
    from firmware_stubs.server import StubOptions

    known = {point.name: point for point in entry_points(group="dpem.stubs")}
    if kind not in known:
        names = sorted(known)
        raise InputError(f"stub {kind!r} is unknown{near(kind, names)}; known: {', '.join(names)}")
    if not 0.0 < speed <= 1e6:
        raise InputError(f"--speed must be > 0 and at most 1e6, got {speed}")
    places = (("--bind", bind), ("--control", control), ("--datalink", datalink))
    for option, where in places:
        _guard(option, where, allow_remote)
    plan = Scenario() if scenario is None else load_scenario(scenario)
    optics = plan.bench
    if fidelity is not None:
        optics = msgspec.structs.replace(optics, fidelity=fidelity, bell_diagonal=None)
    if rate_hz is not None:
        optics = msgspec.structs.replace(optics, rate_hz=rate_hz)
    options = StubOptions(
        kind=kind,
        bind=bind,
        control=control,
        seed=seed,
        speed=speed,
        optics=optics.check(),
        switches=plan.switches,
        events=plan.event,
        json_path=json_path,
        datalink=datalink,
        folder=folder,
        until_eof=until_eof,
    )
    code = known[kind].load()(options)
    if code:
        sys.exit(code)


def _serve_rack(
    rack: Path, scenario: Path | None, everything: bool, json_path: str | None, until_eof: bool
) -> None:
    """Run the stubs of a rack; options that were not given are as the rack file says."""
    from firmware_stubs.rack import RackOptions, serve_rack

    context = click.get_current_context()
    given = {
        name: context.params[name]
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name in ("bind", "control", "fidelity", "rate_hz", "allow_remote"):
        if name in given:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} is for a single stub; the rack and its scenario say it")
    speed = given.get("speed")
    if speed is not None and not 0.0 < speed <= 1e6:
        raise InputError(f"--speed must be > 0 and at most 1e6, got {speed}")
    options = RackOptions(
        seed=given.get("seed"),
        speed=speed,
        scenario=scenario,
        everything=everything,
        json_path=json_path,
        until_eof=until_eof,
    )
    code = serve_rack(rack, options)
    if code:
        sys.exit(code)


def _guard(option: str, where: str, allow_remote: bool) -> None:
    """Keep a stub on this machine unless told otherwise: it has no locks, like the instruments."""
    host = where.rpartition(":")[0].strip("[]")
    if not host:
        return  # No address at all: binding says so.
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if loopback:
        return
    if not allow_remote:
        raise InputError(f"{option} {where} is not a loopback address: add --allow-remote to allow")
    click.echo(f"warning: {option} {where} can be reached by other machines, unprotected", err=True)

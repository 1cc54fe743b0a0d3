"""``dpem dashboard``: the live page of a run, a run folder, a comparison or a service."""

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    import asyncio

    from controller.dashboard.access import Tokens
    from controller.dashboard.sheet import Source

__all__ = ["command"]

#: What a run that is watched does unless it is told otherwise: at the pace of a clock, for a while.
_WATCHED = {"--pace": "1", "--seconds": "300"}
#: How often a run that was started is looked after.
_LOOK_S = 0.2


@click.command("dashboard", context_settings={"ignore_unknown_options": True})
@click.argument("run", metavar="[RUN|COMPARISON|SERVICE.toml]", required=False)
@click.argument("options", metavar="", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--run",
    "start",
    is_flag=True,
    help="Start a run too; all other options go to dpem run.",
)
@click.option(
    "--service", is_flag=True, help="Show the service that dpem serve starts without a file."
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Where a service's metrics are, if its file does not say.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port; a free one unless given.",
)
@click.option("--open", "opened", is_flag=True, help="Open a browser.")
@click.option(
    "--quiet", is_flag=True, help="Show nothing but errors; --json says where the page is."
)
@json_option
def command(
    run: str | None,
    options: tuple[str, ...],
    start: bool,
    service: bool,
    metrics: str | None,
    host: str,
    port: int,
    opened: bool,
    quiet: bool,
    json_path: str | None,
) -> None:
    """Show a run, a comparison or a service on a page, live while it goes on.

    A run folder has a map and a slider over its time; a folder of dpem compare shows what is done,
    the time left and intervals so far; the configuration of a service (or --service) its requests,
    stock and keys.

    With --run a run is started too: at the pace of a clock and for 300 s unless --pace and
    --seconds say otherwise. A run has two addresses: one to watch, one that may also stop the run.
    Ctrl-C ends the page, and a run that it started. With --json they are written, as secrets,
    once the page can be opened.
    """
    if quiet and json_path is None and not opened:
        raise InputError("--quiet hides where the page is: add --json FILE")
    try:
        import aiohttp  # noqa: F401 - an extra that may be missing
    except ImportError as wrong:
        raise InputError("dpem dashboard needs aiohttp: pip install 'dpem[dashboard]'") from wrong
    from controller.dashboard.access import is_own_host

    if not is_own_host(f"[{host}]" if ":" in host else host):
        raise InputError(f"--host must be an address or localhost, got {host!r}")
    if metrics is not None and not (service or (run or "").endswith(".toml")):
        raise InputError("--metrics is for a service: give its SERVICE.toml, or --service")
    strange = next((word for word in (run, *options) if word and word.startswith("-")), None)
    told = _Told(quiet, json_path)
    if start and service:
        raise InputError("--run shows a run and --service a service: give one of them")
    if start:
        _check_free(host, port)
        given = [run, *options] if run is not None else list(options)
        folder, child = _start([*given, "--quiet"] if quiet or json_path == "-" else given)
    elif strange is not None:
        raise InputError(f"no such option: {strange}")
    elif service and run is not None:
        raise InputError(f"--service is the one without a file: leave out {run}, or --service")
    elif run is None and not service:
        raise InputError("give a run folder, or --run to start one")
    elif options:
        raise InputError(f"one run folder is shown, got {1 + len(options)}")
    else:
        source = _source(run, metrics)
        if source is not None:
            _serve_sheet(source, run or "service", host, port, opened, told)
            return
        folder, child = Path(str(run)), None
        if not folder.is_dir():
            raise InputError(f"cannot read the run folder {run}: it does not exist")
    try:
        _serve(folder, host, port, opened, child, told)
    finally:
        if child is not None:
            _end(child)


class _Told(NamedTuple):
    """How the addresses of a page are said."""

    quiet: bool
    json_path: str | None

    def say(self, where: str, tokens: "Tokens", shown: str, *, stops: bool) -> None:
        """Say where the page is, and whether it ``stops`` anything; addresses hold the tokens."""
        said = {"watch": f"{where}{tokens.observe}", "shown": shown}
        if stops:
            said["operate"] = f"{where}{tokens.operate}"
        write_json(said, self.json_path, secret=True)
        if not self.quiet and self.json_path != "-":
            click.echo(f"watch:            {said['watch']}")
            if stops:
                click.echo(f"watch and stop:   {said['operate']}")
            click.echo("Ctrl-C ends the page.")
            sys.stdout.flush()


def _start(given: list[str]) -> tuple[Path, "subprocess.Popen[bytes]"]:
    """Start ``dpem run`` with the options given, and what makes it pleasant to watch."""
    names = {each.partition("=")[0] for each in given}
    # A configuration file says itself how long a run is.
    told = names | ({"--seconds"} if "--config" in names else set())
    more = [part for name, value in _WATCHED.items() if name not in told for part in (name, value)]
    if "--out" not in names:
        folder = _new_folder()
        more += ["--out", str(folder)]
    else:
        folder = Path(_value(given, "--out"))
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise InputError(f"--out {folder} is not empty: give a new folder")
    words = [sys.executable, "-c", "from quantum.cli import main; main()", "run", *given, *more]
    # A session of its own: Ctrl-C is for the page, which then ends the run in order.
    return folder, subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)


def _value(given: list[str], name: str) -> str:
    for place, each in enumerate(given):
        if each == name and place + 1 < len(given):
            return given[place + 1]
        if each.startswith(f"{name}="):
            return each.partition("=")[2]
    raise InputError(f"{name} needs a value")


def _new_folder() -> Path:
    base = Path("runs") / time.strftime("%Y%m%d-%H%M%S-live")
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _source(what: str | None, metrics: str | None) -> "Source | None":
    """Return what a sheet is made of; None for a run folder. Without ``what`` the usual service."""
    if what is not None and not what.endswith(".toml"):
        if not (Path(what) / "comparison.json").is_file():
            return None
        from controller.dashboard.comparison_watch import ComparisonWatch

        return ComparisonWatch(Path(what))
    from controller.dashboard.service_watch import ServiceWatch
    from controller.service.config import load_config

    return ServiceWatch(load_config(what), metrics)


def _serve_sheet(
    source: "Source", shown: str, host: str, port: int, opened: bool, words: _Told
) -> None:
    import asyncio

    from controller.dashboard.access import new_tokens
    from controller.dashboard.server import serve_application
    from controller.dashboard.sheet_page import SheetPage, sheet_application

    tokens = new_tokens()
    page = SheetPage(source, tokens)

    def told(found: int) -> None:
        where = _where(host, found)
        words.say(where, tokens, shown, stops=False)
        if opened:
            click.launch(f"{where}{tokens.observe}")

    async def work() -> None:
        app = sheet_application(page)
        await _until_ended(
            asyncio.ensure_future(serve_application(app, page.follow(), host, port, told))
        )

    asyncio.run(work())


def _where(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/?token="


async def _until_ended(task: "asyncio.Future[None]") -> None:
    """Wait until a task ends, or is ended by a signal."""
    import asyncio
    import contextlib
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _serve(
    folder: Path,
    host: str,
    port: int,
    opened: bool,
    child: "subprocess.Popen[bytes] | None",
    words: _Told,
) -> None:
    import asyncio
    import contextlib
    import signal

    from controller.dashboard.access import new_tokens
    from controller.dashboard.controls import Controls
    from controller.dashboard.page_state import Page
    from controller.dashboard.server import serve
    from controller.dashboard.watch import Watch

    watch, tokens = Watch(folder), new_tokens()

    def told(found: int) -> None:
        where = _where(host, found)
        words.say(where, tokens, str(folder), stops=True)
        if opened:
            click.launch(f"{where}{tokens.operate}")

    async def work() -> None:
        page = Page(watch, Controls(folder, lambda: watch.rack), tokens)
        task = asyncio.ensure_future(serve(page, host, port, told))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            while child is not None and not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
                # It has said why on standard error.
                if child.poll() is not None and not _begun(folder):
                    task.cancel()
            await task

    asyncio.run(work())
    if child is not None and child.returncode is not None and not _begun(folder):
        raise SystemExit(child.returncode)


def _begun(folder: Path) -> bool:
    """Tell whether there is a record to be shown."""
    return (folder / "events.jsonl").exists()


def _check_free(host: str, port: int) -> None:
    """Refuse a port that is in use before a run is started for it."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as wrong:
        raise InputError(f"cannot listen on {host} port {port}: {wrong.strerror}") from wrong


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a run that was started for the page: in order, so that it seals its record."""
    if child.poll() is None:
        click.echo("ending the run", err=True)
        child.terminate()
    try:
        child.wait(60.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()

"""``dpem network``: look at the network of a service that runs, and change it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from controller.client_network import Operator, Stands
    from quantum.alterations import Step

__all__ = ["command"]

_Command = Callable[..., None]


def _service(function: _Command) -> _Command:
    """Add the options that say which service, and who asks."""
    options = (
        click.option("--config", "config_path", metavar="FILE", help="The service's TOML file."),
        click.option("--address", metavar="TCP", help="Where the service listens, instead."),
        click.option(
            "--key",
            "key_path",
            metavar="FILE.key",
            type=click.Path(path_type=Path),
            help="Your key; else that of the file, else one in its folder of keys.",
        ),
        click.option(
            "--wait",
            "wait_s",
            type=click.FloatRange(0.1, 86400.0),
            default=10.0,
            show_default=True,
            help="Wait so many seconds for the answer.",
        ),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


_RID = click.option("--rid", metavar="HEX", help="Name of an earlier change: get its answer again.")


@click.group("network")
def command() -> None:
    """List, join, leave: the nodes and links of a dpem serve, while it runs.

    Whoever holds a key with role operate lets nodes join and leave and links fail and return; role
    observe is enough to list them. What was changed is in the journal of the service and stands
    after a restart. See docs/service.md.
    """


@command.command("list")
@_service
def show(json_path: str | None, **where: Any) -> None:
    """List the nodes and links that a service has now."""
    import msgspec

    with _operator("observe", **where) as operator:
        stands = operator.stands(wait_s=where["wait_s"])
    said = {
        "network": stands.network,
        "changes": stands.change,
        "planned": stands.planned,
        "nodes": [msgspec.structs.asdict(node) for node in stands.nodes],
        "links": [msgspec.structs.asdict(link) for link in stands.links],
    }
    write_json(said, json_path)
    if json_path != "-":
        _table(stands)


@command.command("join")
@click.argument("name", required=False)
@click.option(
    "--link",
    "links",
    multiple=True,
    metavar="TO[:FIDELITY[:KM]]",
    help="A link to a node that is there; once for each link.",
)
@click.option("--generation-hz", type=float, metavar="HZ", help="Pairs it starts a second (5).")
@click.option("--swap-hz", type=float, metavar="HZ", help="Swaps it can do a second (2.5).")
@click.option("--qubits", type=int, metavar="N", help="Qubits of its memory (16).")
@click.option(
    "--place",
    type=(float, float),
    metavar="X_KM Y_KM",
    help="Where it stands; else amid the nodes that it is linked to.",
)
@click.option(
    "--file",
    "path",
    metavar="FILE.json",
    type=click.Path(path_type=Path),
    help="Nodes and links that join, all of them or none, in the topology format.",
)
@_RID
@_service
def join(
    name: str | None,
    links: tuple[str, ...],
    generation_hz: float | None,
    swap_hz: float | None,
    qubits: int | None,
    place: tuple[float, float] | None,
    path: Path | None,
    rid: str | None,
    json_path: str | None,
    **where: Any,
) -> None:
    """Let the node NAME, or those of a file, join with their links.

    A node comes with an empty memory. Fidelities are 0.98 and lengths the straight line where they
    are left out.
    """
    from controller.network_file import joins_of, link_of, node_entry, read_description
    from quantum.errors import InputError
    from quantum.topologies.entry import Description

    given = (links or None, generation_hz, swap_hz, qubits, place)
    if (name is None) == (path is None) or (path is not None and any(g is not None for g in given)):
        raise InputError("give NAME and its options, or --file alone")
    if path is not None:
        wanted = read_description(path)
    else:
        assert name is not None
        x_km, y_km = place or (None, None)
        rates = {"generation_hz": generation_hz, "swap_hz": swap_hz, "qubits": qubits}
        node = node_entry(name, x_km=x_km, y_km=y_km, **rates)
        wanted = Description([node], [link_of(text, name) for text in links])
    with _operator("operate", **where) as operator:
        stands = operator.stands(wait_s=where["wait_s"])
        places = {node.name: (node.x_km, node.y_km) for node in stands.nodes}
        _change(operator, joins_of(wanted, places), where["wait_s"], rid, json_path)


@command.command("leave")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--keep",
    "keep_path",
    metavar="FILE.json",
    help="Write what leaves to a file, from which dpem network join --file lets it join again.",
)
@_RID
@_service
def leave(
    names: tuple[str, ...],
    keep_path: str | None,
    rid: str | None,
    json_path: str | None,
    **where: Any,
) -> None:
    """Let nodes leave, all of them or none, with their links and all pairs of theirs.

    Requests from and to them that wait are denied at once.
    """
    from controller.network_file import written
    from quantum.alterations import Part

    with _operator("operate", **where) as operator:
        if keep_path is not None:
            stands, gone = operator.stands(wait_s=where["wait_s"]), set(names)
            nodes = tuple(node for node in stands.nodes if node.name in gone)
            ends = ((link, {link.a, link.b}) for link in stands.links)
            # Asked once more, when they have left, the file says already what they had.
            if len(nodes) == len(gone):
                write_json(written(nodes, tuple(link for link, of in ends if of & gone)), keep_path)
        _change(operator, tuple(Part(name) for name in names), where["wait_s"], rid, json_path)


@command.command("fail")
@click.argument("a")
@click.argument("b")
@_RID
@_service
def fail(a: str, b: str, rid: str | None, json_path: str | None, **where: Any) -> None:
    """Say that the link between A and B has failed: it makes no pairs until it returns.

    Pairs of the link that are in stock can still be used.
    """
    from quantum.alterations import Fail

    with _operator("operate", **where) as operator:
        _change(operator, (Fail(a, b),), where["wait_s"], rid, json_path)


@command.command("return")
@click.argument("a")
@click.argument("b")
@_RID
@_service
def come_back(a: str, b: str, rid: str | None, json_path: str | None, **where: Any) -> None:
    """Say that the link between A and B works again."""
    from quantum.alterations import Return

    with _operator("operate", **where) as operator:
        _change(operator, (Return(a, b),), where["wait_s"], rid, json_path)


def _operator(
    role: Any,
    *,
    config_path: str | None,
    address: str | None,
    key_path: Path | None,
    wait_s: float,
) -> "Operator":
    """Open a session with the service, with a key of at least the role where one can be found."""
    from controller.client import HELLO_S
    from controller.client_network import Operator
    from controller.security.keys import load_pair
    from controller.service.config import load_config
    from controller.site import own_key

    config = load_config(config_path)
    server = config.server_public()
    if key_path is not None:
        own = load_pair(key_path)
    elif config.key is not None or role == "observe":
        own = config.client_pair()[1]
    else:
        own = own_key(config.folder, role)[1]
    hello_s = min(max(HELLO_S, wait_s), 60.0)
    where = address or config.address
    return Operator(where, server, own, name="dpem network", hello_s=hello_s)


def _change(
    operator: "Operator",
    steps: "tuple[Step, ...]",
    wait_s: float,
    rid: str | None,
    json_path: str | None,
) -> None:
    from controller.client import rid_of
    from quantum.errors import Code, InputError, RequestError

    name = rid_of(rid)
    try:
        done = operator.change(steps, wait_s=wait_s, rid=name)
    except RequestError as wrong:
        if wrong.code is Code.CREATE:  # the change makes no sense: wrong input, as elsewhere
            raise InputError(wrong.detail) from wrong
        if wrong.code is Code.TIMEOUT:
            why = f"{wrong.detail}; whether it was made is told by --rid {name.hex()}"
            raise RequestError(wrong.code, why) from wrong
        raise
    said = {
        "rid": done.rid.hex(),
        "change": done.change,
        "nodes": done.nodes,
        "links": done.links,
        "down": done.down,
        "denied": done.denied,
    }
    write_json(said, json_path)
    if json_path != "-":
        denied = f"; {done.denied} requests that waited are denied" if done.denied else ""
        click.echo(
            f"change {done.change} is made: {done.nodes} nodes, {done.links} links, "
            f"{done.down} down{denied}"
        )


def _table(stands: "Stands") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    planned = "planned for it" if stands.planned else "being planned for it"
    title = f"{stands.network} after {stands.change} changes, stock {planned}"
    nodes = Table("node", "generation/s", "swaps/s", "memory in use", title=Text(title))
    for node in stands.nodes:
        rates = f"{node.generation_hz:.3g}", f"{node.swap_hz:.3g}"
        nodes.add_row(Text(node.name), *rates, f"{node.used} of {node.qubits}")
    links = Table("link", "km", "fidelity", "in stock", "")
    for link in stands.links:
        numbers = f"{link.length_km:.1f}", f"{max(link.populations):.4f}", f"{link.stored}"
        links.add_row(Text(f"{link.a} - {link.b}"), *numbers, "" if link.up else "down")
    console = Console()
    console.print(nodes)
    console.print(links)

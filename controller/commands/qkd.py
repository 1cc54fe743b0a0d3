"""``dpem qkd``: quantum keys over a network, from measured pairs to a store."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from controller.qkd.plan import Plan, Stretch
    from controller.qkd.session import Agreement

__all__ = ["CLAIMS", "command"]

#: What the security of a key rests on, and against whom it holds.
CLAIMS = {
    "bbm92": "against coherent attacks, measurements trusted",
    "e91": "device-independent, against collective attacks",
}


@click.command("qkd")
@click.argument("source")
@click.argument("destination")
@click.option("--topology", default="surfnet", show_default=True, metavar="NAME|FILE")
@click.option("--network-seed", default=0, show_default=True, help="Seed of what it leaves open.")
@click.option("--backend", default="aer", show_default=True, help="aer, analytic or another.")
@click.option(
    "--protocol",
    type=click.Choice(["bbm92", "e91"]),
    default="bbm92",
    show_default=True,
    help="Test by the error rate in XX, or by the violation of a Bell inequality.",
)
@click.option(
    "--pairs", type=int, help="Pairs to make on each stretch.  [default: 100000, e91: 400000]"
)
@click.option(
    "--trust",
    type=click.Choice(["end-to-end", "trusted-nodes"]),
    default="end-to-end",
    show_default=True,
    help="Swap pairs all the way, or make keys link by link over nodes that know them.",
)
@click.option(
    "--test-share",
    default=0.3,
    show_default=True,
    help="Chance (0-1) of a setting for the test: XX; of e91 the other two angles.",
)
@click.option("--tolerance", type=float, help="Error rate of the test up to which a key is made.")
@click.option("--chsh-tolerance", type=float, help="S of e91's test from which a key is made.")
@click.option("--secrecy", default=1e-10, show_default=True, help="Composable, per stretch.")
@click.option("--correctness", default=1e-15, show_default=True, help="Composable, per stretch.")
@click.option(
    "--eavesdrop",
    default=0.0,
    show_default=True,
    help="Share of pairs (0-1) that somebody measures in Z on the first link.",
)
@click.option("--wait-s", default=0.0, show_default=True, help="Wait of both ends of a pair.")
@click.option("--workers", default=1, show_default=True, help="Worker processes.")
@click.option("--seed", default=0, show_default=True, help="Seed of all draws.")
@click.option("--out", metavar="DIR", help="Put the keys into key stores in this folder.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@json_option
def command(
    source: str,
    destination: str,
    topology: str,
    network_seed: int,
    backend: str,
    workers: int,
    out: str | None,
    quiet: bool,
    json_path: str | None,
    **options: Any,
) -> None:
    """Make secret keys between SOURCE and DESTINATION by BBM92 or E91, with finite-key security.

    Every pair is made once and measured at both ends: in ZZ for the key or in XX for the test, or
    at Ekert's angles. Exit code 1 where no key comes of it. Keys of a simulator are for studies:
    its seed knows them.
    """
    from controller.qkd.keeping import keep
    from controller.qkd.pairs import Bench
    from controller.qkd.plan import Plan
    from controller.qkd.route import find_route
    from controller.qkd.session import agree
    from quantum.topology import load_topology

    network = load_topology(topology, seed=network_seed)
    plan = Plan(**options).check()
    route = find_route(network, source, destination)
    stretches = 1 if plan.trust == "end-to-end" else len(route.links)
    quiet = quiet or json_path == "-"
    with (
        _progress(stretches, plan, quiet) as advance,
        Bench(backend, workers=workers, seed=plan.seed) as bench,
    ):
        found = agree(network, route, plan, bench, advance)
    stored = 0 if out is None else keep(found, Path(out), source, destination)
    write_json(_summary(found, plan, backend, network.name, stored), json_path)
    if not quiet:
        _show(found, plan, backend, out)
    if not len(found.alice):
        raise click.exceptions.Exit(1)


def _progress(stretches: int, plan: "Plan", quiet: bool) -> Any:
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    # Pairs of different bases are not executed.
    other, main = plan.test_share, 1.0 - plan.test_share
    share = other**2 + main**2
    if plan.protocol == "e91":
        share = main**2 + other * main + 0.75 * other**2

    @contextmanager
    def bar() -> Any:
        shown = not quiet and sys.stderr.isatty()
        with Progress(console=Console(stderr=True), transient=True, disable=not shown) as progress:
            task = progress.add_task("measuring pairs", total=stretches * plan.pairs_each * share)
            yield lambda done: progress.advance(task, done)

    return bar()


def _summary(
    found: "Agreement", plan: "Plan", backend: str, network: str, stored: int
) -> dict[str, Any]:
    import msgspec

    count = len(found.stretches)
    return {
        "protocol": plan.protocol,
        "claim": CLAIMS[plan.protocol],
        "trust": plan.trust,
        "trusted_nodes": list(found.knowing),
        "network": network,
        "backend": backend,
        "plan": msgspec.to_builtins(plan),
        "secret_bits": len(found.alice),
        "keys_equal": bool((found.alice == found.bob).all()),
        "secrecy": min(1.0, count * plan.secrecy),
        "correctness": min(1.0, count * plan.correctness),
        "stored_bytes": stored,
        "stretches": msgspec.to_builtins(found.stretches),
    }


def _show(found: "Agreement", plan: "Plan", backend: str, out: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        title=f"{plan.protocol.upper()} on {backend}, {plan.trust}",
    )
    tests = ("QBER test",) if plan.protocol == "bbm92" else ("S", "S at least")
    for name in ("stretch", "sifted", "test", *tests, "QBER key", "leaked", "secret bits"):
        table.add_column(name, justify="left" if name == "stretch" else "right")
    for part in found.stretches:
        table.add_row(
            f"{part.nodes[0]} - {part.nodes[-1]}, {_links(part)}",
            f"{part.sifted_bits}",
            f"{part.test_bits}",
            *_tested(part),
            "-" if part.qber_key is None else f"{part.qber_key:.2%}",
            f"{part.leak_bits}",
            f"{part.secret_bits}",
        )
    console.print(table)
    for part in found.stretches:
        if part.bell is not None:
            console.print(
                f"S of {part.nodes[0]} - {part.nodes[-1]}: {part.bell.low:.4f} to "
                f"{part.bell.high:.4f} (95 %); {part.bell.expected_s:.4f} is expected"
            )
        if part.why:
            console.print(f"no key over {part.nodes[0]} - {part.nodes[-1]}: {part.why}")
    bits = len(found.alice)
    if not bits:
        hopeless = any(part.bell is not None and part.bell.s <= 2.0 for part in found.stretches)
        more = "better links" if hopeless else "more --pairs"
        console.print(f"no key was made: take {more}, a shorter route, or trusted nodes")
        return
    total = len(found.stretches) * plan.secrecy
    console.print(f"a key of {bits} bits, {total:.1g}-secret: {CLAIMS[plan.protocol]}", end="")
    if found.knowing:
        console.print(f"; {', '.join(found.knowing)} know it, too", end="")
    console.print(f"; stored in {out}" if out else "")


def _tested(part: "Stretch") -> tuple[str, ...]:
    """Return what the table says of a stretch's test."""
    if part.bell is None:
        return (f"{part.qber_test:.2%} of {part.tolerance:.2%}",)
    test = part.bell
    return (f"{test.s:.3f}", f"{test.floor:.3f}")


def _links(part: "Stretch") -> str:
    count = len(part.nodes) - 1
    return "1 link" if count == 1 else f"{count} links"

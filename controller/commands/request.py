"""``dpem request``: ask a service for pairs, for people."""

from typing import Any

import click

from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("request")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--pairs", default=1, show_default=True, help="How many.")
@click.option("--fidelity", default=0.5, show_default=True, help="Each at least as good as this.")
@click.option("--deadline", "deadline_s", default=1.0, show_default=True, help="Within seconds.")
@click.option("--config", "config_path", metavar="FILE", help="The service's TOML file.")
@click.option("--regions", "regions_path", metavar="FILE", help="Ask the broker of SRC's region.")
@click.option("--address", metavar="TCP", help="Where the service listens, instead.")
@click.option("--rid", metavar="HEX", help="Name of an earlier request: get its answer again.")
@click.option(
    "--watch",
    "watch_s",
    type=click.FloatRange(0.0, 86400.0),
    default=0.0,
    help="Wait so many seconds for pairs that expire: workers may not be able to execute them.",
)
@json_option
def command(
    source: str,
    destination: str,
    pairs: int,
    fidelity: float,
    deadline_s: float,
    config_path: str | None,
    regions_path: str | None,
    address: str | None,
    rid: str | None,
    watch_s: float,
    json_path: str | None,
) -> None:
    """Ask a running service (dpem serve, dpem region) for pairs between two nodes.

    Exit code 1 where there are none by the deadline, or nobody answers.
    """
    from controller.client import HELLO_S, Client, rid_of
    from controller.service.config import load_config
    from quantum.errors import Code, InputError, RequestError

    if regions_path is not None and config_path is not None:
        raise InputError("give --config or --regions, not both")
    name = rid_of(rid)
    if regions_path is None:
        config = load_config(config_path)
        (server, own), listens = config.client_pair(), config.address
    else:
        from controller.regions.config import load_regions

        whole = load_regions(regions_path)
        region, _ = whole.region_of(source), whole.region_of(destination)
        (server, own), listens = whole.client_pair(region), whole.region(region).address
    # Whoever gives an answer more time also waits longer to be let in.
    hello_s = min(max(HELLO_S, deadline_s), 60.0)
    where = address or listens
    with Client(where, server, own, name="dpem request", hello_s=hello_s) as client:
        try:
            granted = client.request(
                source,
                destination,
                pairs=pairs,
                minimum_fidelity=fidelity,
                deadline_s=deadline_s,
                rid=name,
            )
        except RequestError as wrong:
            if wrong.code is Code.CREATE:  # the request makes no sense: wrong input, as elsewhere
                raise InputError(wrong.detail) from wrong
            raise
        expired = [
            {"pairs": list(told.pairs), "code": told.code, "why": told.detail}
            for told in client.expired(watch_s)
            if told.rid == granted.rid
        ]
    rows = []
    for pair in granted.pairs:
        known = granted.kinds[pair.measured]
        rows.append(
            {
                "id": [pair.source, pair.destination, pair.sequence],
                "predicted": pair.predicted,
                "measured": {
                    "low": known.low,
                    "best": known.best,
                    "high": known.high,
                    "shots": known.shots,
                    "age_s": known.age_s,
                },
            }
        )
    said = {
        "rid": granted.rid.hex(),
        "source_of_truth": granted.source_of_truth,
        "pairs": rows,
        "expired": expired,
    }
    write_json(said, json_path)
    if json_path != "-":
        _show(said)


def _show(said: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    gone = {number: told for told in said["expired"] for number in told["pairs"]}
    table = Table("pair", "predicted", "measured (95 %)", "tests", title=f"request {said['rid']}")
    for row in said["pairs"]:
        known = row["measured"]
        table.add_row(
            "{} - {} #{}".format(*row["id"]),
            f"{row['predicted']:.4f}",
            f"{known['low']:.3f} - {known['high']:.3f}" if known["shots"] else "not tested yet",
            str(known["shots"]),
        )
    Console().print(table)
    for number, told in gone.items():
        click.echo(f"pair #{number} has expired: {told['code']}: {told['why']}")

"""The options of commands that play federated rounds."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from controller.federation import AGGREGATORS, CLIPPINGS, PRIVACIES

__all__ = ["federation_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--privacy",
        metavar="|".join(PRIVACIES),
        help="Who adds noise to shared weights: the broker (central, default), every node, nobody.",
    ),
    click.option("--epsilon", type=float, help="What all federated rounds together may cost (8)."),
    click.option("--delta", type=float, help="Chance that this fails (1e-3, less in large nets)."),
    click.option(
        "--aggregator",
        metavar="|".join(AGGREGATORS),
        help="mean (default); none: every node for itself; the others withstand liars, and go with "
        "privacy local or none.",
    ),
    click.option(
        "--participation", type=float, help="Chance of a node to take part in a round (1)."
    ),
    click.option(
        "--clipping",
        metavar="|".join(CLIPPINGS),
        help="fixed (default), or adaptive to the median length of changes.",
    ),
    click.option(
        "--tolerated", type=float, help="Share of nodes that may lie (.2), for robust aggregators."
    ),
    click.option(
        "--stale-rounds", type=int, help="Rounds after which a late change is dropped (1)."
    ),
)


def federation_options(command: _Command) -> _Command:
    """Add the options of :class:`controller.federation.Federation`; None where not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command

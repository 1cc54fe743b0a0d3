"""Flower's two applications: ``server`` runs in the ServerApp, ``client`` at every site."""

import logging
import os
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from controller.checkpoint import save
from controller.flower.plan import plan_from
from controller.flower.rounds import privacy_of
from controller.flower.site import train_site
from controller.flower.strategy import SitesStrategy, reply_with, task_in
from controller.setting import scenario_of
from quantum.errors import InputError

__all__ = ["client", "server"]

_LOG = logging.getLogger("flwr")
client = ClientApp()
server = ServerApp()

#: Of the run configuration, all else is the plan: where the server writes the policy.
_OUT = "out"


@client.train()
def train(message: Message, context: Context) -> Message:
    """Train the agents of this site; the node configuration says which and where they remember."""
    import torch

    torch.set_num_threads(1)
    plan = plan_from(_plan_of(context))
    try:
        site, folder = int(context.node_config["site"]), Path(str(context.node_config["folder"]))
    except (KeyError, ValueError) as wrong:
        raise InputError(
            "start the SuperNode with --node-config 'site=0 folder=\"/a/folder\"'"
        ) from wrong
    number, weights = task_in(message)
    rows = train_site(plan, site, number, weights, folder / f"run-{context.run_id}")
    return reply_with(message, site, number, rows)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Play all rounds and write the policy."""
    plan = plan_from(_plan_of(context))
    nodes = len(scenario_of(plan.setting(0)).network.nodes)
    strategy = SitesStrategy(plan, nodes, told=_LOG.info)
    out = Path(os.path.expanduser(str(context.run_config.get(_OUT, "policy.safetensors"))))
    strategy.start(grid, ArrayRecord([strategy.average.current]))
    policy = {"policy": strategy.average.current}
    notes = privacy_of(strategy.average)
    digest = save(
        out, policy, seed=plan.seed, round_index=strategy.average.done, notes={"flower": notes}
    )
    _LOG.info("policy %s in %s", digest, out)


def _plan_of(context: Context) -> dict[str, object]:
    return {k: v for k, v in context.run_config.items() if k != _OUT}

"""``squidasm.run.stack.run.run``: configuration and programs in, results out."""

import logging
from typing import Any

from backends.squid.program import Program
from backends.squid.run import run_network
from backends.squid.standin.blocks import play_blocks
from backends.squid.standin.breakpoints import on_breakpoint
from backends.squid.standin.logs import LogManager
from backends.squid.standin.network import NetworkConfig, StackNetworkConfig, network_of
from backends.squid.standin.state import STATE

__all__ = ["run"]


def run(
    config: StackNetworkConfig | NetworkConfig, programs: dict[str, Program], num_times: int = 1
) -> list[list[Any]]:
    """Run the program of each node ``num_times`` times, one after the other.

    Returns a list for each node in the order of the configuration, with a result for each time.
    Raises :class:`SquidError` for whatever SquidASM would hang or stumble on.
    """
    network = network_of(config)
    seed = STATE.next_seed()
    simulation = STATE.begin()

    def play(times: int, of_seed: int) -> tuple[list[list[Any]], float]:
        results = run_network(
            network,
            programs,
            times,
            seed=of_seed,
            engine=STATE.engine,
            simulation=simulation,
            loggers=_logger,
            on_breakpoint=on_breakpoint,
            most_events=STATE.most_events,
        )
        return results, simulation.now_ns

    if STATE.processes == 1 or num_times < 2:
        return play(num_times, seed)[0]
    results, simulation.now_ns_at_end = play_blocks(play, num_times, seed, STATE.processes)
    return results


def _logger(node: str) -> logging.Logger:
    return LogManager.get_stack_logger(node)

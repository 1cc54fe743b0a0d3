"""DPEM in a notebook: networks, demand, allocators, tables, circuits and pictures in a few calls.

::

    from controller import api

    net = api.network("surfnet")                       # a name, a file, or a networkx graph
    game = api.game(net, "poisson", load_hz=20.0, seconds=10.0)
    played = api.play(game, "mean-rate")
    played.requests.to_pandas()                        # or .to_arrow(), or .columns
    played.circuit(request=played.delivered()[0])      # a Qiskit circuit
    api.plot(played)                                   # matplotlib Axes

Times are seconds, rates per second, lengths kilometres, fidelities 0 to 1. What is wrong is an
:class:`quantum.errors.InputError` of one line. Everything is played in the twin: no sockets, no
processes; the same arguments give the same result.
"""

from controller.api.games import Played, compare, game, play, preset_game
from controller.api.networks import graph, network
from controller.api.plots import plot, plot_network
from controller.api.tables import Table

__all__ = [
    "Played",
    "Table",
    "compare",
    "game",
    "graph",
    "network",
    "play",
    "plot",
    "plot_network",
    "preset_game",
]

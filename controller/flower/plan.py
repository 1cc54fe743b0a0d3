"""What all sites and the server agree on before the first round."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from controller.decide import FEATURES
from controller.policy import initial_actor, parameters
from controller.setting import Setting
from quantum.errors import InputError
from quantum.ledger.state import Floats, Ints
from quantum.presets import NETWORKS

__all__ = ["Plan", "plan_from"]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rounds of ``seconds`` network time each, on one network, whose nodes belong to ``sites``."""

    topology: str = "mesh-20"
    demand: str = "scheduled"
    load_hz: float | None = None
    seconds: float = 5.0
    rounds: int = 10
    sites: int = 2
    seed: int = 0
    clip_norm: float = 0.2
    """Longest change of a node's weights that counts."""
    noise_multiplier: float = 0.0
    """Noise of the sum over ``clip_norm``; 0 gives no privacy and the same bytes everywhere."""
    participation: float = 1.0
    """Chance with which a node takes part in a round."""

    def check(self) -> "Plan":
        """Refuse what makes no rounds; InputError names the field."""
        for name, value, low, high in (
            ("seconds", self.seconds, 0.1, 3600.0),
            ("rounds", self.rounds, 1, 100_000),
            ("sites", self.sites, 1, 10_000),
            ("clip_norm", self.clip_norm, 1e-9, 1e9),
            ("noise_multiplier", self.noise_multiplier, 0.0, 1e9),
            ("participation", self.participation, 1e-6, 1.0),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} must be between {low:g} and {high:g}, got {value:g}")
        self.setting(0).check()
        return self

    def setting(self, round_index: int) -> Setting:
        """Return what is played in a round: other draws, the same network."""
        return Setting(
            topology=self.topology,
            demand=self.demand,
            load_hz=self.load_hz,
            seconds=self.seconds,
            warmup_s=0.0,
            seed=self.seed + NETWORKS * round_index,
        )

    def nodes_of(self, site: int, nodes: int) -> Ints:
        """Return the nodes of a site, in a network of ``nodes``.

        >>> Plan(sites=2).nodes_of(1, 5)
        array([3, 4])
        """
        if not 0 <= site < self.sites:
            raise InputError(f"site must be between 0 and {self.sites - 1}, got {site}")
        if nodes < self.sites:
            raise InputError(f"{nodes} nodes are too few for {self.sites} sites")
        return np.array_split(np.arange(nodes), self.sites)[site]

    def start(self) -> Floats:
        """Return the weights (P,) before the first round: those of the heuristic."""
        weights: Floats = parameters(initial_actor(1, len(FEATURES), seed=self.seed))[0]
        return weights


def plan_from(config: Mapping[str, Any]) -> Plan:
    """Read a plan from a table of plain values, such as Flower's run configuration.

    >>> plan_from({"topology": "line-4", "rounds": 3}).rounds
    3
    """
    try:
        return msgspec.convert(dict(config), Plan, strict=True).check()
    except msgspec.ValidationError as wrong:
        raise InputError(f"the configuration of the run is wrong: {wrong}") from wrong

"""What all sites and the server agree on before the first round."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from controller.decide import FEATURES
from controller.federation import AGGREGATORS, Federation, Scheme, noise_of
from controller.policy import initial_actor, parameters
from controller.setting import Setting
from quantum.errors import InputError
from quantum.ledger.state import Floats, Ints
from quantum.presets import NETWORKS

__all__ = ["Plan", "plan_from"]

#: What makes one of many changes; nobody needs Flower to learn alone.
_TOGETHER = tuple(name for name in AGGREGATORS if name != "none")


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
    aggregator: str = "mean"
    privacy: str = "none"
    """central, local, or none: no noise, and the same bytes everywhere."""
    epsilon: float = 8.0
    delta: float = 0.0
    """0 asks for the default of :func:`controller.federation.delta_of`."""
    participation: float = 1.0
    clipping: str = "fixed"
    tolerated: float = 0.2

    def check(self) -> "Plan":
        """Refuse what makes no rounds; InputError names the field."""
        for name, value, low, high in (
            ("seconds", self.seconds, 0.1, 3600.0),
            ("rounds", self.rounds, 1, 100_000),
            ("sites", self.sites, 1, 10_000),
            ("clip_norm", self.clip_norm, 1e-9, 1e9),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} must be between {low:g} and {high:g}, got {value:g}")
        if self.aggregator not in _TOGETHER:
            raise InputError(
                f"aggregator must be mean, median, trimmed-mean or krum, got {self.aggregator!r}"
            )
        self.federation.check()
        self.setting(0).check()
        return self

    @property
    def federation(self) -> Federation:
        """How changes become one, and what that keeps private; all sites are waited for."""
        return Federation(
            aggregator=self.aggregator,
            privacy=self.privacy,
            epsilon=self.epsilon,
            delta=self.delta or None,
            participation=self.participation,
            clipping=self.clipping,
            tolerated=self.tolerated,
            stale_rounds=0,
        )

    def scheme(self, nodes: int) -> Scheme:
        """Return the federation among ``nodes`` nodes, with the noise that all rounds need.

        Sites are real, so what protects them comes from the operating system: noise that could be
        drawn again would protect nobody. Raises InputError where there are too few nodes.
        """
        federation = self.federation
        if nodes < federation.fewest_clients:
            raise InputError(
                f"{nodes} nodes are too few for aggregator {self.aggregator} with privacy "
                f"{self.privacy}; at least {federation.fewest_clients}"
            )
        return Scheme(
            federation,
            nodes,
            clip_norm=self.clip_norm,
            noise_multiplier=noise_of(federation, nodes, self.rounds),
            secret=self.privacy != "none",
        )

    @property
    def longest(self) -> float:
        """The length to which nodes clip their changes."""
        return Scheme(self.federation, self.sites, clip_norm=self.clip_norm).client_clip

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

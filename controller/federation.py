"""How federated rounds go, as one small value, and what it comes to among N clients.

Two kinds of privacy. *central*: the broker is trusted with clipped changes and adds noise to their
sum. *local*: every node adds noise to its own change before it sends it, and nobody need be
trusted. *none* has to be said, and results say it too.

What one client can do to a robust aggregate is not bounded by the clipping norm over the number of
clients, as it is for the mean. So robust aggregators go with local noise, or with none.

The aggregator *none* puts nothing together: every node learns for itself. Its changes go to the
broker's gate and come back to it alone; no weights are shared, so there is no epsilon to state.
"""

import math
from dataclasses import dataclass
from functools import cache

import msgspec

from controller.privacy import default_delta, epsilon, local_epsilon, noise_for
from quantum.errors import InputError

__all__ = ["AGGREGATORS", "CLIPPINGS", "PRIVACIES", "Federation", "Scheme", "delta_of", "noise_of"]

AGGREGATORS = ("mean", "median", "trimmed-mean", "krum", "none")
PRIVACIES = ("central", "local", "none")
CLIPPINGS = ("fixed", "adaptive")

#: A mean of fewer cannot hide one of them; noise that a node adds itself hides it in any company.
_FEWEST = {"central": 10, "local": 2, "none": 2}
_FEWEST_FOR = {"mean": 2, "median": 3, "trimmed-mean": 3, "krum": 5}
#: How far adaptive clipping may raise the clipping norm: what honest clients keep to.
_ROOM = 5.0
#: Noise of the count of short updates, per client of a round (Andrew et al., section 3.2).
_COUNT_NOISE = 0.05
#: A Gaussian vector is longer than sqrt(P) + 8 with a chance of 1e-14.
_TAIL = 8.0


class Federation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rounds are asked to be; the defaults are private.

    >>> Federation().check().privacy
    'central'
    """

    aggregator: str = "mean"
    """How changes become one: mean, median, trimmed-mean or krum; none: they do not."""
    privacy: str = "central"
    """Who adds noise: central (the broker), local (every node itself) or none."""
    epsilon: float = 8.0
    """What all rounds together may cost."""
    delta: float | None = None
    """Chance that the guarantee fails; the default is 1e-3, and less from 534 nodes on."""
    participation: float = 1.0
    """Chance with which a client takes part in a round, independently of all others."""
    clipping: str = "fixed"
    """How the longest change is set: fixed, or adaptive (Andrew et al., arXiv:1905.03871)."""
    tolerated: float = 0.2
    """Share of clients that may lie, for trimmed-mean and krum."""
    stale_rounds: int = 1
    """Rounds after which a late change is dropped; 0 drops every late one."""

    def check(self) -> "Federation":
        """Refuse what makes no sense, alone or together."""
        for name, value, known in (
            ("aggregator", self.aggregator, AGGREGATORS),
            ("privacy", self.privacy, PRIVACIES),
            ("clipping", self.clipping, CLIPPINGS),
        ):
            if value not in known:
                raise InputError(f"{name} must be {_one_of(known)}, got {value!r}")
        if not 1e-2 <= self.epsilon <= 1e3:
            raise InputError(f"epsilon must be between 0.01 and 1000, got {self.epsilon}")
        if self.delta is not None and not 1e-12 <= self.delta <= 0.1:
            raise InputError(f"delta must be between 1e-12 and 0.1, got {self.delta}")
        if not 0.01 <= self.participation <= 1.0:
            raise InputError(f"participation must be between 0.01 and 1, got {self.participation}")
        if not 0.0 <= self.tolerated < 0.5:
            raise InputError(f"tolerated must be at least 0 and below 0.5, got {self.tolerated}")
        if not 0 <= self.stale_rounds <= 100:
            raise InputError(f"stale_rounds must be between 0 and 100, got {self.stale_rounds}")
        if self.alone:
            self._check_alone()
        elif self.privacy == "central" and self.aggregator != "mean":
            raise InputError(
                f"aggregator {self.aggregator} goes with privacy local or none: central noise is "
                "measured for the mean"
            )
        if self.privacy == "local" and self.clipping == "adaptive":
            raise InputError("clipping adaptive goes with privacy central or none, not with local")
        return self

    def _check_alone(self) -> None:
        """Refuse what is said of rounds that there are not."""
        usual = Federation()
        for name in ("participation", "clipping", "tolerated"):
            if getattr(self, name) != getattr(usual, name):
                raise InputError(f"{name} is of rounds, and aggregator none has none: leave it out")
        if self.privacy == "local":
            raise InputError(
                "privacy local is noise on weights that are shared, and aggregator none shares "
                "none: leave it out"
            )

    @property
    def alone(self) -> bool:
        """Whether every node learns for itself, and nothing is put together."""
        return self.aggregator == "none"

    @property
    def fewest_clients(self) -> int:
        """Networks with fewer nodes have no rounds; their nodes learn each for itself."""
        if self.alone:
            return 1
        return max(_FEWEST[self.privacy], _FEWEST_FOR[self.aggregator])


@dataclass(frozen=True)
class Scheme:
    """A federation among ``clients``, its noise worked out.

    ``noise_multiplier`` is what the accountant is told: with central privacy the noise of the sum
    over the largest change of one client, with local privacy the noise of one message over the
    clipping norm. ``secret``: noise and participation come from the operating system.
    """

    federation: Federation
    clients: int
    clip_norm: float = 0.2
    noise_multiplier: float = 0.0
    secret: bool = False

    @property
    def expected_clients(self) -> float:
        """Clients of a round, on average; what sums are divided by."""
        return self.federation.participation * self.clients

    @property
    def delta(self) -> float | None:
        """The delta of the guarantee, None where there is none."""
        if self.noise_multiplier <= 0.0 or self.federation.privacy == "none":
            return None
        return delta_of(self.federation, self.clients)

    def epsilon(self, rounds: int) -> float | None:
        """Return what ``rounds`` rounds together cost, None without a guarantee."""
        if rounds < 1 or self.delta is None:
            return None
        if self.federation.privacy == "local":
            return local_epsilon(self.noise_multiplier, self.delta, rounds)
        rate = self.federation.participation
        return epsilon(self.noise_multiplier, self.delta, rounds, rate)

    @property
    def count_noise(self) -> float:
        """Noise of the count of short updates with adaptive clipping, in clients."""
        if self.federation.clipping != "adaptive" or self.sum_noise_alone <= 0.0:
            return 0.0
        return max(_COUNT_NOISE * self.expected_clients, self.noise_multiplier)

    @property
    def sum_noise_alone(self) -> float:
        """Noise of the sum if nothing else were published, over the clipping norm."""
        return self.noise_multiplier if self.federation.privacy == "central" else 0.0

    @property
    def sum_noise(self) -> float:
        """Noise that the broker adds to the sum, over the clipping norm.

        A count is published too where clipping adapts. One client changes it, centred, by a half:
        theorem 1 of Andrew et al. gives the noise with which both together cost what
        ``noise_multiplier`` costs.

        >>> scheme = Scheme(Federation(clipping="adaptive"), clients=100, noise_multiplier=2.0)
        >>> scheme.count_noise, round(scheme.sum_noise, 4)
        (5.0, 2.0412)
        """
        alone, count = self.sum_noise_alone, self.count_noise
        if count <= 0.0:
            return alone
        return float((alone**-2 - (2.0 * count) ** -2) ** -0.5)

    @property
    def message_noise(self) -> float:
        """Noise that every node adds to its own change, over the clipping norm."""
        return self.noise_multiplier if self.federation.privacy == "local" else 0.0

    @property
    def client_clip(self) -> float:
        """The length to which clients clip; the broker clips further where clipping adapts."""
        room = _ROOM if self.federation.clipping == "adaptive" else 1.0
        return room * self.clip_norm

    def longest(self, parameters: int) -> float:
        """Return the length of a message that no honest client sends, P parameters long.

        Without local noise ten times the clipping norm: rounding never explains it. With it the
        noise has to be allowed for.
        """
        if self.message_noise <= 0.0:
            return 10.0 * self.client_clip
        return self.clip_norm * (1.0 + self.message_noise * (math.sqrt(parameters) + _TAIL))


def delta_of(federation: Federation, clients: int) -> float:
    """Return the delta that was asked for, or the default for so many clients.

    Raises InputError from 1 / clients on: showing one client outright would pass.
    """
    if federation.delta is None:
        return default_delta(clients)
    if federation.delta * clients >= 1.0:
        raise InputError(
            f"delta must be below 1/{clients}, one over the nodes, got {federation.delta}"
        )
    return federation.delta


def noise_of(federation: Federation, clients: int, rounds: int) -> float:
    """Return the noise multiplier with which ``rounds`` rounds cost the budget, 0 for none.

    Raises InputError where delta is too large for so many clients.
    """
    if federation.alone or federation.privacy == "none" or rounds < 1:
        return 0.0
    if clients < federation.fewest_clients:
        return 0.0
    return _noise(federation, delta_of(federation, clients), rounds)


@cache
def _noise(federation: Federation, delta: float, rounds: int) -> float:
    # The accountant takes seconds, and every run of the same length asks the same.
    if federation.privacy == "local":
        # One message may take the place of another, two clipping norms away.
        return 2.0 * noise_for(federation.epsilon, delta, rounds)
    return noise_for(federation.epsilon, delta, rounds, federation.participation)


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"

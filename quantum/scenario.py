"""A scenario: one network, one request trace and the rules of the world, ready to be played.

Every allocator that plays a scenario sees the same draws. Making scenarios from names, presets and
files is the work of :mod:`quantum.presets`.
"""

from dataclasses import dataclass

from quantum.changes import NO_CHANGES, Changes
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network

__all__ = ["Scenario"]


@dataclass(frozen=True, eq=False)
class Scenario:
    """What is played, for how long, and how it is drawn.

    Warm-up comes first and is not counted; ``seconds`` of evaluation follow. ``test_share`` is the
    share of assembled pairs that are measured instead of delivered, and the share of generation
    tokens whose pair is measured on its link; it is the same for every allocator. ``service_s`` is
    the service time of a central controller. ``changes`` are the links and nodes that come and go.
    """

    network: Network
    trace: Trace
    seed: int
    seconds: float
    warmup_s: float = 10.0
    slot_s: float = 0.02
    test_share: float = 0.05
    service_s: float = 0.01
    changes: Changes = NO_CHANGES

    def __post_init__(self) -> None:
        if not 0 < self.slot_s <= 1:
            raise InputError(f"slot_s must be in (0, 1] seconds, got {self.slot_s}")
        if not 0 < self.seconds < 1e7:
            raise InputError(f"seconds must be > 0, got {self.seconds}")
        if not 0 <= self.warmup_s < 1e7:
            raise InputError(f"warmup_s must be >= 0, got {self.warmup_s}")
        if not 0 <= self.test_share < 1:
            raise InputError(f"test_share must be in [0, 1), got {self.test_share}")
        if not 0 <= self.service_s < 1e3:
            raise InputError(f"service_s must be >= 0 seconds, got {self.service_s}")
        self.changes.check(self.network)

    @property
    def warmup_slots(self) -> int:
        """Slots before counting starts."""
        return round(self.warmup_s / self.slot_s)

    @property
    def slots(self) -> int:
        """Slots that are counted."""
        return max(1, round(self.seconds / self.slot_s))

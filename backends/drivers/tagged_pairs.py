"""Coincidences between two sides by any time tagger: what vendor libraries are adapted to."""

from backends.drivers.capabilities import Coincidences, Tags, TimeTagger
from backends.drivers.tags import count_coincidences, sorted_ps
from quantum.errors import DeviceLimit, DeviceProtocol, InputError

__all__ = ["TaggedPairs"]


class TaggedPairs:
    """Counts pairs of four channels: Alice +, Alice -, Bob +, Bob -.

    ``channels`` are their places among those of the tagger, ``delays_ps`` what to subtract from the
    tags of each (cables and fibres), ``window_ps`` the full width of the interval.
    """

    def __init__(
        self,
        tagger: TimeTagger,
        *,
        channels: tuple[int, int, int, int] = (0, 1, 2, 3),
        window_ps: int = 2000,
        delays_ps: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        if len(set(channels)) != 4 or not all(0 <= c < tagger.channels for c in channels):
            raise InputError(
                f"channels must be four different ones from 0 to {tagger.channels - 1}, "
                f"got {channels}"
            )
        if not 2 <= window_ps <= 1_000_000:
            raise InputError(f"window_ps must be from 2 to 1000000, got {window_ps}")
        if not all(abs(delay) <= 10**9 for delay in delays_ps):
            raise InputError(f"delays_ps must be within +-1e9, got {delays_ps}")
        self._tagger = tagger
        self._channels = channels
        self._half_ps = window_ps // 2
        self._delays_ps = delays_ps

    def coincidences(self, integration_s: float) -> Coincidences:
        """Record for a full window that begins after this call, and count its pairs.

        Raises :class:`DeviceLimit` where the tagger lost tags, and :class:`DeviceProtocol` for a
        record of another length than was asked for.
        """
        if not 1e-4 <= integration_s <= 3600.0:
            raise DeviceLimit(f"integration_s must be from 0.0001 to 3600, got {integration_s}")
        return self.count(self._tagger.tags(integration_s), integration_s)

    def count(self, tags: Tags, integration_s: float) -> Coincidences:
        """Count the pairs of a record."""
        if tags.lost:
            raise DeviceLimit("the time tagger lost tags: counts of this window mean nothing")
        if not abs(tags.duration_s - integration_s) <= 1e-3 * integration_s:
            raise DeviceProtocol(
                f"the time tagger recorded {tags.duration_s:g} s instead of {integration_s:g} s"
            )
        if len(tags.ps) != self._tagger.channels:
            raise DeviceProtocol(f"the time tagger answered {len(tags.ps)} channels")
        rows = [sorted_ps(f"channel {c}", tags.ps[c]) for c in self._channels]

        def pairs(alice: int, bob: int) -> int:
            middle = self._delays_ps[bob] - self._delays_ps[alice]
            return count_coincidences(
                rows[alice],
                rows[bob],
                low_ps=middle - self._half_ps,
                high_ps=middle + self._half_ps,
            )

        return Coincidences(
            pairs=((pairs(0, 2), pairs(0, 3)), (pairs(1, 2), pairs(1, 3))),
            singles=(len(rows[0]), len(rows[1]), len(rows[2]), len(rows[3])),
            integration_s=integration_s,
            not_before_s=tags.not_before_s,
            not_after_s=tags.not_after_s,
        )

"""A quTAG as a ``TimeTagger``: an adapter around the vendor's own Python wrapper.

The wrapper's names (``getLastTimestamps``, ``getTimebase``, ``setBufferSize``, ``enableChannels``,
``getDataLost``, ``deInitialize``) are from memory of quTools' documentation and were not tried on
an instrument: check them against the version that you have installed. The unit keeps the last tags
in a buffer; it is emptied when a stretch begins and read when it ends, so the stretch is cut from
the tags themselves: from the first instant after the emptying that the unit's clock shows.
"""

import time

import numpy as np
import QuTAG  # The vendor's wrapper, from its installer.

from backends.drivers.capabilities import Identity, Tags
from quantum.errors import DeviceError, DeviceLimit


class QutagTagger:
    """The first quTAG that the wrapper finds; ``inputs`` are the numbers on its front panel."""

    def __init__(self, *, inputs=(1, 2, 3, 4), most_tags=1_000_000, sleep=time.sleep):
        self.inputs = tuple(inputs)
        self.channels = len(self.inputs)
        self._most_tags = most_tags
        self._sleep = sleep
        try:
            self._unit = QuTAG.QuTAG()
            self._unit.setBufferSize(most_tags)
            self._unit.enableChannels(self.inputs)
            self._ps = self._unit.getTimebase() * 1e12
        except Exception as wrong:
            raise DeviceError(f"quTAG: {wrong}") from wrong

    def identify(self):
        """Say what it is; the wrapper knows a device by its serial number."""
        return Identity("quTools", "quTAG", str(self._open().getDeviceInfo()), "unknown")

    def ping(self):
        """Return when the unit answers."""
        self._open().getTimebase()

    def tags(self, duration_s):
        """Record all inputs for a stretch that begins after this call."""
        unit = self._open()
        unit.getLastTimestamps(True)
        unit.getDataLost()  # What was lost before is not ours.
        asked = time.monotonic()
        self._sleep(duration_s)
        times, channels, valid = unit.getLastTimestamps(True)
        answered = time.monotonic()
        if answered - asked > 2.0 * duration_s + 0.1:
            raise DeviceLimit("quTAG: this process paused, the stretch is of unknown length")
        ps = np.rint(np.asarray(times[:valid], dtype=np.float64) * self._ps).astype(np.int64)
        where = np.asarray(channels[:valid])
        if valid:
            inside = ps < ps.min() + round(duration_s * 1e12)
            ps, where = ps[inside], where[inside]
        return Tags(
            ps=tuple(ps[where == number] for number in self.inputs),
            duration_s=duration_s,
            lost=bool(unit.getDataLost()) or valid >= self._most_tags,
            not_before_s=asked,
            not_after_s=answered,
        )

    def safe_state(self):
        """Do nothing: a tagger only listens."""
        self.ping()

    def close(self):
        """Release the unit; safe to call twice."""
        if self._unit is not None:
            self._unit.deInitialize()
            self._unit = None

    def _open(self):
        if self._unit is None:
            raise DeviceError("quTAG: the connection is closed")
        return self._unit

"""A Swabian Time Tagger as a ``TimeTagger``: an adapter around the vendor's own Python library.

The library talks to the instrument; nothing here speaks its closed protocol. Names of the library
(``createTimeTagger``, ``TimeTagStream``, ``startFor``, ``waitUntilFinished``, ``getData``,
``freeTimeTagger``) are from memory of Swabian's documentation and were not tried on an instrument:
check them against the version that you have installed.
"""

import time

import numpy as np
import TimeTagger  # The vendor's library, from its installer.

from backends.drivers.capabilities import Identity, Tags
from quantum.errors import DeviceError, DeviceTimeout


class SwabianTagger:
    """The tagger with a serial number; ``inputs`` are the numbers on its front panel."""

    def __init__(
        self, serial: str = "", *, inputs=(1, 2, 3, 4), threshold_v=0.5, most_tags=10_000_000
    ):
        self.inputs = tuple(inputs)
        self.channels = len(self.inputs)
        self._most_tags = most_tags
        try:
            self._tagger = TimeTagger.createTimeTagger(serial)
            for channel in self.inputs:
                self._tagger.setTriggerLevel(channel, threshold_v)
        except RuntimeError as wrong:
            raise DeviceError(f"Time Tagger {serial or 'any'}: {wrong}") from wrong

    def identify(self):
        """Ask the library who is there."""
        tagger = self._open()
        return Identity("Swabian", tagger.getModel(), tagger.getSerial(), TimeTagger.getVersion())

    def ping(self):
        """Return when the instrument answers."""
        self._open().getSerial()

    def tags(self, duration_s):
        """Record all inputs for a stretch that begins after this call."""
        stream = TimeTagger.TimeTagStream(self._open(), self._most_tags, list(self.inputs))
        asked = time.monotonic()
        stream.startFor(round(duration_s * 1e12))
        if not stream.waitUntilFinished(timeout=round((duration_s + 2.0) * 1e3)):
            raise DeviceTimeout(f"Time Tagger: no {duration_s:g} s of tags in {duration_s + 2:g} s")
        data = stream.getData()
        answered = time.monotonic()
        times, channels = data.getTimestamps(), data.getChannels()
        return Tags(
            ps=tuple(np.asarray(times[channels == number]) for number in self.inputs),
            duration_s=stream.getCaptureDuration() * 1e-12,
            # A full buffer is a loss as well: what came after it is missing.
            lost=bool(data.hasOverflows) or len(times) >= self._most_tags,
            not_before_s=asked,
            not_after_s=answered,
        )

    def safe_state(self):
        """Do nothing: a tagger only listens."""
        self.ping()

    def close(self):
        """Release the instrument; safe to call twice."""
        if self._tagger is not None:
            TimeTagger.freeTimeTagger(self._tagger)
            self._tagger = None

    def _open(self):
        if self._tagger is None:
            raise DeviceError("Time Tagger: the connection is closed")
        return self._tagger

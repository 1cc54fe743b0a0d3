"""The virtual optical bench that all stubs share.

:mod:`~firmware_stubs.bench.modulated` is the small bench of a single ID900, whose outputs drive
basis modulators. :mod:`~firmware_stubs.bench.shared` is the bench of a rack: several sources and
their fibres, polarisation controllers, an optical switch, waveplates, detectors. Instruments that
count look at either through :class:`~firmware_stubs.bench.counted.CountedBench`.
"""

from firmware_stubs.bench.counted import CountedBench, gated
from firmware_stubs.bench.events import Events
from firmware_stubs.bench.modulated import EVEN_PASSES, Bench, Drift, Optics

__all__ = ["EVEN_PASSES", "Bench", "CountedBench", "Drift", "Events", "Optics", "gated"]

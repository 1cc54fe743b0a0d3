"""Published experiments as data: every number with its source and how far it was checked.

:mod:`~quantum.experiments.library` reads them, :mod:`~quantum.experiments.hardware` turns one into
a link and a memory. (:mod:`quantum.presets` is something else: the arenas of the comparison.)
"""

from quantum.experiments.entry import Entry, Source
from quantum.experiments.hardware import link, memory
from quantum.experiments.library import Experiment, Point, experiment, names

__all__ = ["Entry", "Experiment", "Point", "Source", "experiment", "link", "memory", "names"]

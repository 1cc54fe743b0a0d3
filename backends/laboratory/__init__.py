"""Links of a rack that are measured through switch, plates and detectors, and kept calibrated.

``evidence``, ``diagnosis`` and ``compensation`` are pure: what was counted, what it means, what to
try next. ``station`` moves the instruments, ``backend`` puts both together.
"""

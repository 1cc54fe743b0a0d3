"""Names of the presets, apart from what makes them: a help text needs no more."""

__all__ = ["PRESETS"]

PRESETS = ("paper", "metro", "fast", "fidelity")

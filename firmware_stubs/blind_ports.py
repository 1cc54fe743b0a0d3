"""Ports that lead to no bench: for a stub that runs alone, and for tests that look behind it."""

__all__ = ["BlindRotator", "BlindSqueezer"]


class BlindRotator:
    """Remembers where the plate stands."""

    def __init__(self) -> None:
        self.angle_deg = 0.0

    def set_angle_deg(self, angle_deg: float, now_s: float) -> None:
        """Turn the plate."""
        self.angle_deg = angle_deg


class BlindSqueezer:
    """Remembers how the fibre is squeezed."""

    def __init__(self) -> None:
        self.voltages_mv = (0.0, 0.0, 0.0, 0.0)
        self.scrambling = False

    def set_voltages_mv(self, voltages_mv: tuple[float, float, float, float], now_s: float) -> None:
        """Squeeze the fibre."""
        self.voltages_mv = voltages_mv

    def set_scrambling(self, scrambling: bool, now_s: float) -> None:
        """Randomise the polarisation, or stop doing so."""
        self.scrambling = scrambling

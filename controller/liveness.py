"""Whether all who command a laboratory's instruments are alive. Pure: times are given.

Nobody is missed before :meth:`Liveness.begin`: starting and compiling may take as long as it does.
"""

from collections.abc import Iterable

from quantum.egp import Pulse

__all__ = ["Liveness"]


class Liveness:
    """Hears the hearts of agents; ``silence_s`` is how long one may be silent.

    The broker's own loop has to move on too: within ``stall_s``, which is long, because a slot may
    bring a kernel to compile.
    """

    def __init__(self, agents: Iterable[str], silence_s: float, stall_s: float) -> None:
        self._heard: dict[str, float] = dict.fromkeys(agents, 0.0)
        self._silence_s, self._stall_s = silence_s, stall_s
        self._moved_s = 0.0
        self._begun = False
        self.lost = ""
        self.over = False

    def begin(self, now_s: float) -> None:
        """Miss whoever is silent from now on."""
        self._begun = True
        self._moved_s = now_s
        self._heard = dict.fromkeys(self._heard, now_s)

    def beat(self, agent: str, now_s: float) -> None:
        """Hear an agent; others are not counted."""
        if agent in self._heard:
            self._heard[agent] = now_s

    def move(self, now_s: float) -> None:
        """Note that the broker's loop goes on."""
        self._moved_s = now_s

    def give_up(self, why: str) -> None:
        """Note that somebody is lost; the first reason stays."""
        self.lost = self.lost or why

    def pulse(self, names: dict[str, str], now_s: float) -> Pulse | None:
        """Return what workers are told now; nothing before the run has begun."""
        if self._begun and not self.lost and not self.over:
            for agent, heard_s in self._heard.items():
                if now_s - heard_s > self._silence_s:
                    self.give_up(f"{names[agent]} was not heard for {self._silence_s:g} s")
            if now_s - self._moved_s > self._stall_s:
                self.give_up(f"the broker did not move on for {self._stall_s:g} s")
        if self.lost:
            return Pulse(lost=self.lost)
        if self.over:
            return Pulse(over=True)
        return Pulse() if self._begun else None

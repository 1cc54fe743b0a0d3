"""Whether all who command a laboratory's instruments are alive. Pure: times are given.

Nobody's heart is missed before :meth:`Liveness.begin`: to start and to compile may take long. Who
is killed or stopped is lost at any time.
"""

from quantum.egp import Pulse

__all__ = ["Liveness"]


class Liveness:
    """Hears the hearts of agents; ``silence_s`` is how long one may be silent.

    A heart that is silent is a process that hangs; one that was killed or stopped is seen sooner,
    see :mod:`quantum.running`. The broker's slots have to go on too, within ``stall_s``.
    """

    def __init__(self, agents: dict[str, str], silence_s: float, stall_s: float) -> None:
        self._names = agents
        self._heard: dict[str, float] = dict.fromkeys(agents, 0.0)
        self._silence_s, self._stall_s = silence_s, stall_s
        self._moved_s: float | None = None
        self._begun = False
        self.lost = ""
        self.over = False

    def begin(self, now_s: float) -> None:
        """Miss whoever is silent from now on."""
        self._begun = True
        self._heard = dict.fromkeys(self._heard, now_s)

    def beat(self, agent: str, now_s: float) -> None:
        """Hear the agent of a public key; others are not counted."""
        if agent in self._heard:
            self._heard[agent] = now_s

    def move(self, now_s: float) -> None:
        """Note that the broker's slots go on; only after the first such word they have to."""
        self._moved_s = now_s

    def give_up(self, why: str) -> None:
        """Note that somebody is lost; the first reason stays, and what is over stays over."""
        if not self.over:
            self.lost = self.lost or why

    def end(self) -> None:
        """Note that the run has ended in order."""
        self.over = not self.lost

    def pulse(self, now_s: float) -> Pulse:
        """Return what workers are told now."""
        if self._begun:
            for agent, heard_s in self._heard.items():
                if now_s - heard_s > self._silence_s:
                    self.give_up(f"{self._names[agent]} was not heard for {self._silence_s:g} s")
            if self._moved_s is not None and now_s - self._moved_s > self._stall_s:
                self.give_up(f"no slot was played for {self._stall_s:g} s")
        if self.lost:
            return Pulse(lost=self.lost)
        if self.over:
            return Pulse(over=True)
        return Pulse()

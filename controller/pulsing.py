"""The broker's end of the process of pulses (:mod:`controller.pulse`)."""

import contextlib
import os
import select
import subprocess
import sys

import msgspec

from controller.pulse import Orders, PulseConfig
from controller.security import KeyPair
from quantum.errors import DpemError

__all__ = ["Pulses"]

_START_S = 60.0


class Pulses:
    """Started before agents and workers, which are told ``address``; ended after they know.

    While it says nothing else, workers hear that all is well; when this process dies or is
    stopped, they hear that, and no more.
    """

    def __init__(
        self, keys: KeyPair, agents: dict[str, str], workers: dict[str, str], *, silence_s: float
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "controller.pulse"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        config = PulseConfig(
            public=keys.public,
            secret=keys.secret,
            agents=agents,
            workers=workers,
            silence_s=silence_s,
        )
        self._tell(config)
        self.address = self._line(_START_S)
        self.lost = ""
        self._slot = -1
        if not self.address:
            self.close()
            raise DpemError("the process of pulses did not start")

    def watch(self, processes: dict[str, int]) -> None:
        """Watch processes of this machine by their ids."""
        self._tell(Orders(watch=processes))

    def begin(self) -> None:
        """Miss whoever is silent from now on."""
        self._tell(Orders(begin=True))

    def look(self, slot: int) -> str:
        """Tell that a slot is being played; return who is lost, or nothing."""
        if slot != self._slot:
            # The first slot may have to wait for kernels that are compiled: it is not timed.
            if self._slot >= 0:
                self._tell(Orders(move=True))
            self._slot = slot
        if not self.lost and select.select([self._out], [], [], 0.0)[0]:
            self.lost = self._line(0.0) or "the process of pulses is lost"
        return self.lost

    def close(self, lost: str = "") -> None:
        """Let workers know that the run is over, or who is lost; safe to call twice."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        self._tell(Orders(over=True, lost=lost))
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _tell(self, message: msgspec.Struct) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            os.write(self._process.stdin.fileno(), msgspec.json.encode(message) + b"\n")

    def _line(self, patience_s: float) -> str:
        if not select.select([self._out], [], [], patience_s)[0]:
            return ""
        return os.read(self._out, 4096).decode(errors="replace").partition("\n")[0]

"""Tells a firmware stub of ours to misbehave, over its control address."""

from typing import Any

import msgspec
import zmq

from quantum.errors import DeviceError

__all__ = ["StubTrouble"]

_PATIENCE_MS = 10_000


class StubTrouble:
    """A :class:`backends.drivers.conformance.Trouble` of the stub of a kind."""

    def __init__(self, kind: str, control: str) -> None:
        self._control = control
        # The ID900 answers frames, the others a stream of bytes: their faults have other names.
        frames = kind == "id900"
        self._silence = "no_reply" if frames else "silence"
        self._late = "late_reply" if frames else "delay"

    def silence(self) -> None:
        """Answer nothing until :meth:`heal`."""
        self._tell(do="fault", kind=self._silence)

    def garbage(self) -> None:
        """Answer the next question with other bytes."""
        self._tell(do="fault", kind="garbage", left=1)

    def late(self, seconds: float) -> None:
        """Answer the next question so late."""
        self._tell(do="fault", kind=self._late, left=1, late_s=seconds)

    def power_cycle(self) -> None:
        """Lose all connections and settings."""
        self._tell(do="power_cycle")

    def heal(self) -> None:
        """Be healthy again."""
        self._tell(do="clear")

    def _tell(self, **message: Any) -> None:
        with zmq.Context() as context, context.socket(zmq.REQ) as wire:
            wire.setsockopt(zmq.LINGER, 0)
            wire.connect(self._control)
            wire.send(msgspec.json.encode(message))
            if not wire.poll(_PATIENCE_MS):
                raise DeviceError(f"{self._control}: the stub does not answer")
            answer = msgspec.json.decode(wire.recv())
        if not answer.get("ok"):
            raise DeviceError(f"{self._control}: {answer.get('error')}")

"""Find the supervisor of a rack, or start one that ends with us."""

import contextlib
import json
import select
import subprocess
import sys
from pathlib import Path

import msgspec

from backends.supervisor.guardian import GuardianConfig
from backends.supervisor.places import Endpoint, place_of, read_endpoint
from quantum.errors import DeviceError, DpemError, InputError, RecordError
from quantum.logs import for_child

__all__ = ["Launched", "find_or_launch"]

_START_S = 90.0
_KINDS: dict[str, type[DpemError]] = {"InputError": InputError, "RecordError": RecordError}


class Launched:
    """A guardian that was started here; it ends in order when :meth:`close` is called.

    When this process dies instead, the guardian's standard input ends, and the rack is made safe.
    """

    def __init__(self, rack: Path, mode: str) -> None:
        config = GuardianConfig(rack=str(rack.resolve()), mode=mode)
        environment, _ = for_child(outlives=True)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "backends.supervisor.guardian",
                msgspec.json.encode(config).decode(),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            # A Ctrl-C at the terminal is not for it: it has to outlive us by a moment.
            start_new_session=True,
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], _START_S)
        line = out.readline() if ready else b""
        try:
            said = json.loads(line)
        except ValueError as wrong:
            raise DeviceError("the guardian of the rack did not start") from wrong
        if not said["ok"]:
            raise _KINDS.get(said["kind"], DeviceError)(said["error"])

    @property
    def running(self) -> bool:
        """Whether the guardian is still there."""
        return self._process.poll() is None

    @property
    def code(self) -> int:
        """Exit code of a guardian that has ended: 1 after an emergency."""
        return self._process.returncode or 0

    def close(self, patience_s: float = 5.0) -> None:
        """Let the guardian end; one that lingers over a latched rack is left to itself."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        # Not ours any more: it goes on alone until its rack is given up.
        self._process.returncode = self._process.poll() or 0


def find_or_launch(rack: Path, mode: str = "stub") -> tuple[Endpoint, Launched | None]:
    """Return where the rack's supervisor listens; it is started in ``mode`` if there is none."""
    place = place_of(rack)
    found = read_endpoint(place)
    if found is not None:
        return found, None
    launched = Launched(rack, mode)
    found = read_endpoint(place)
    if found is None:
        launched.close()
        raise DeviceError("the supervisor ended as soon as it had started")
    return found, launched

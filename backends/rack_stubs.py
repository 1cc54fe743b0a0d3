"""All firmware stubs of a rack in one process, on one bench, which ends with us."""

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from backends.rack import StubProcess
from quantum.errors import DeviceError, DeviceTimeout

__all__ = ["RackStubs"]

_INSTRUMENT = re.compile(
    r"(?P<name>\S+) (?P<kind>\S+) (?P<address>\S+://\S+) control (?P<control>tcp://\S+)(?: .*)?\Z"
)
_BENCH = re.compile(r"bench \S+ control (?P<control>tcp://\S+)\Z")
_START_S = 60.0


class RackStubs(StubProcess):
    """``addresses`` and ``controls`` by instrument; ``bench`` is the control address of the bench.

    ``everything`` starts stubs also for instruments that have an address of their own. Raises
    :class:`DeviceError` with the stubs' own complaint where they do not start.
    """

    def __init__(
        self,
        rack: Path,
        options: tuple[str, ...] = (),
        *,
        everything: bool = False,
        patience_s: float = _START_S,
    ) -> None:
        more = ("--all",) if everything else ()
        command = [sys.executable, "-m", "firmware_stubs", str(rack), "--until-eof"]
        self._process = subprocess.Popen(
            [*command, *more, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.addresses: dict[str, str] = {}
        self.controls: dict[str, str] = {}
        self.bench = ""
        try:
            self._listen(patience_s)
        except DeviceError:
            self.close()
            raise
        self.address, self.control = "", self.bench

    def _listen(self, patience_s: float) -> None:
        """Read lines until that of the bench, which is the last."""
        out = self._process.stdout
        assert out is not None
        deadline, text = time.monotonic() + patience_s, b""
        while not self.bench:
            ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise DeviceTimeout(f"the rack's stubs did not start within {patience_s:g} s")
            data = os.read(out.fileno(), 65536)
            if not data:
                said = self._complaint() or text.decode("utf-8", errors="replace")
                raise DeviceError(f"the rack's stubs did not start: {said!s}")
            text += data
            *lines, text = text.split(b"\n")
            for line in lines:
                self._note(line.decode("utf-8", errors="replace"))

    def _note(self, line: str) -> None:
        bench, one = _BENCH.match(line), _INSTRUMENT.match(line)
        if bench is not None:
            self.bench = bench["control"]
        elif one is not None:
            self.addresses[one["name"]] = one["address"]
            self.controls[one["name"]] = one["control"]
        else:
            raise DeviceError(f"the rack's stubs did not start: {line!r}")

"""The processes of a run: started with their configuration, watched, and stopped.

Configurations hold secret keys: they are files in a private temporary folder, readable by the
owner only, and gone when the run is over.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from quantum.errors import DpemError, InputError
from quantum.logs import for_child, note

__all__ = ["Processes"]

#: How long a process may take to leave after it was asked to.
PATIENCE_S = 5.0


class Processes:
    """Child processes of one run; a context manager that leaves none behind.

    ``through`` gives the words in front of the command line of a process, by its name: what starts
    it on another host, and dies with it.
    """

    def __init__(self, through: Callable[[str], Sequence[str]] = lambda _: ()) -> None:
        self._through = through
        self._folder = tempfile.TemporaryDirectory(prefix="dpem-")
        self._running: list[tuple[str, subprocess.Popen[bytes], Path]] = []

    def start(self, module: str, name: str, config: msgspec.Struct) -> None:
        """Start ``python -m module CONFIG``; what it complains of is read by :meth:`check`."""
        folder = Path(self._folder.name)
        path, complaints = folder / f"{name}.json", folder / f"{name}.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(config))
        inherited, descriptors = for_child()
        environment = inherited | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        with complaints.open("wb") as log:
            process = subprocess.Popen(
                [*self._through(name), sys.executable, "-m", module, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=descriptors,
            )
        note("process started", process=name, child=process.pid)
        self._running.append((name, process, complaints))

    def ids(self) -> dict[str, int]:
        """Return the process ids by name."""
        return {name: process.pid for name, process, _ in self._running}

    def check(self) -> None:
        """Raise if a process has died, with the last line it wrote."""
        for name, code, words in self.ended():
            kind = InputError if code == InputError.exit_code else DpemError
            raise kind(f"process {name} ended with code {code}: {words}")

    def ended(self) -> Iterator[tuple[str, int, str]]:
        """Let go of processes that have died: name, exit code, and the last line that each wrote.

        A process of the same name may be started again.
        """
        for running in list(self._running):
            name, process, complaints = running
            code = process.poll()
            if code is not None:
                lines = complaints.read_text(errors="replace").strip().splitlines()
                last = lines[-1] if lines else "without a word"
                note("process ended", level="error", process=name, code=code, words=last)
                self._running.remove(running)
                complaints.with_suffix(".json").unlink()
                yield name, code, last

    def stop(self) -> None:
        """Let processes leave by themselves, then make them; safe to call twice."""
        until = time.monotonic() + PATIENCE_S
        for _, process, _ in self._running:
            try:
                process.wait(max(0.05, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()
        for _, process, _ in self._running:
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            for _, process, _ in self._running:
                process.terminate()
        self.stop()

"""The files that tasks name, carried to machines that may not have them.

A worker works in the folder that the tasks were made in, if that is there with the same files; else
in one with the files that tasks name by a relative path, and nothing else. A file of an absolute
path has to be there, and the same.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import msgspec

from controller.arena.facts import allocator_code, code_digest
from quantum.errors import EngineError
from quantum.output import write_whole

__all__ = ["Carried", "pack", "unpack"]


class Carried(msgspec.Struct, frozen=True):
    """What all tasks share: their folder, files, and digests of code that they meet here."""

    folder: str
    files: dict[str, bytes]
    code: str
    allocators: dict[str, str]

    @property
    def digest(self) -> str:
        """Digest of all fields."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).hexdigest()


def pack(files: Collection[str], allocators: Collection[str]) -> Carried:
    """Read what is to be carried, from the current folder."""
    return Carried(
        folder=os.getcwd(),
        files={name: Path(name).read_bytes() for name in sorted(files)},
        code=code_digest(),
        allocators={name: allocator_code(name) for name in allocators},
    )


def unpack(carried: Carried) -> None:
    """Work where the files are, and see that the code is the same, once in this process.

    Raises EngineError where it is not, where a file of an absolute path is missing, or where a name
    leads out of the folder that is ours.
    """
    if carried.digest in _done():
        return
    if code_digest() != carried.code:
        raise EngineError(
            f"{_here()} has other code than this machine: install the same dpem and the same "
            "packages on all machines of the cluster"
        )
    for name, code in carried.allocators.items():
        if allocator_code(name) != code:
            raise EngineError(f"{_here()} has other code for the allocator {name}")
    if not _has(Path(carried.folder), carried.files):
        os.chdir(_copy(carried))
    else:
        os.chdir(carried.folder)
    _done().add(carried.digest)


@cache
def _done() -> set[str]:
    """Return the digests of what was unpacked in this process."""
    return set()


def _here() -> str:
    return f"{os.uname().nodename} (process {os.getpid()})"


def _has(folder: Path, files: Mapping[str, bytes]) -> bool:
    try:
        return folder.is_dir() and all(
            (folder / name).read_bytes() == data for name, data in files.items()
        )
    except OSError:
        return False


def _copy(carried: Carried) -> Path:
    """Write the files below a folder of ours, which keeps them for the next process."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    root = Path(os.path.abspath(base / "dpem" / "carried" / carried.digest[:24]))
    # As deep as the folder was, so that names with .. stay below ours.
    folder = root / Path(carried.folder).relative_to("/")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in carried.files.items():
        path = Path(name)
        if path.is_absolute():
            if not path.is_file() or path.read_bytes() != data:
                raise EngineError(
                    f"{path} is not on {_here()}, or another file: name it by a relative path, "
                    "then it is carried there"
                )
            continue
        target = Path(os.path.normpath(folder / path))
        if not target.is_relative_to(root):
            raise EngineError(f"{name} is outside of what is carried to {_here()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, data)
    return folder

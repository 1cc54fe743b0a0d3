"""Who holds which key, and what he may do: values, and the folder that they are read from."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from controller.security.keys import PublicKey, load_public
from quantum.errors import InputError
from quantum.private import check_folder
from quantum.roles import Role

__all__ = ["Client", "KeyFolder", "Keyring", "read_folder"]


class Client(NamedTuple):
    """The owner of a key: his name, what he may do, and his public key in z85."""

    name: str
    role: Role
    public: str


class Keyring:
    """Public keys and their owners; does not change. ``revoked`` are names by public key.

    >>> ring = Keyring([Client("ada", "operate", "k" * 40)])
    >>> ring.find("k" * 40).name, ring.find("x" * 40)
    ('ada', None)
    """

    def __init__(self, clients: Iterable[Client] = (), revoked: dict[str, str] | None = None):
        self.revoked = dict(revoked or {})
        self.clients = {c.public: c for c in clients if c.public not in self.revoked}

    def find(self, public: str) -> Client | None:
        """Return the owner of a key that may come in, else None."""
        return self.clients.get(public)

    def __len__(self) -> int:
        return len(self.clients)

    @classmethod
    def load(cls, folder: Path) -> tuple[Self, list[str]]:
        """Read the ``.pub`` and ``.revoked`` files of a folder.

        Raises :class:`InputError` for a folder that others may enter. Files that are broken, and
        keys that two files claim, are left out: they come back as lines that name them.
        """
        keys, troubles = read_folder(folder)
        revoked = {key.public: key.name for key in keys if key.revoked}
        return cls((Client(k.name, k.role, k.public) for k in keys), revoked), troubles


def read_folder(folder: Path) -> tuple[list[PublicKey], list[str]]:
    """Return the public keys of a folder, revoked ones too, and lines about what is broken."""
    check_folder(folder)
    troubles: list[str] = []
    known: dict[str, PublicKey] = {}
    twice: set[str] = set()
    revoked: dict[str, PublicKey] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".pub", ".revoked"):
            continue
        try:
            key = load_public(path)
        except InputError as wrong:
            # A key may have been revoked between the two looks at the folder.
            if os.path.lexists(path):
                troubles.append(str(wrong))
            continue
        if key.revoked:
            revoked[key.public] = key
        elif key.public in known:
            twice.add(key.public)
            other = known[key.public].name
            troubles.append(f"key {path}: public is that of {other}.pub too; neither counts")
        else:
            known[key.public] = key
    valid = [key for public, key in known.items() if public not in twice | revoked.keys()]
    return [*valid, *revoked.values()], troubles


class KeyFolder:
    """A folder of public keys that is read again when something in it changes.

    ``ring`` is what was read last. When the folder itself can no longer be trusted or read,
    ``closed`` says why: who is known stays known, and nobody new is to be admitted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closed = ""
        self.ring, self.troubles = Keyring.load(folder)
        # Looked at before the next reading, so that a change in between is not missed.
        self._seen: object = None

    def refresh(self) -> bool:
        """Look at the folder, and read it again if it changed; tell whether it was read."""
        try:
            seen = _signature(self.folder)
            if seen == self._seen and not self.closed:
                return False
            ring, troubles = Keyring.load(self.folder)
        except (InputError, OSError) as wrong:
            self.closed = str(wrong)
            return False
        self.ring, self.troubles, self._seen, self.closed = ring, troubles, seen, ""
        return True


def _signature(folder: Path) -> object:
    """Return what changes when the folder, or a file in it, does."""
    check_folder(folder)
    out = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".pub", ".revoked"):
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            out.append((path.name, found.st_ino, found.st_mtime_ns, found.st_ctime_ns))
    return out

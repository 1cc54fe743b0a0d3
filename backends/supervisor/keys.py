"""CURVE keys of people and processes, as files that only their owner can read, and who they are.

The local key belongs to the user who runs a supervisor: it may operate, and arm what is made of
stubs. Whoever may arm instruments stands in the rack file with his public key.
"""

import os
from pathlib import Path
from typing import Annotated

import msgspec
import zmq

from quantum.errors import InputError
from quantum.private import check_secret
from quantum.rack_safety import ROLES, Role, SafetyEntry

__all__ = [
    "KeyPair",
    "at_least",
    "load_key",
    "local_key",
    "new_key",
    "roles",
]

_Z85 = Annotated[str, msgspec.Meta(min_length=40, max_length=40)]


class KeyPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key pair in z85, as it stands in a key file."""

    public: _Z85
    secret: _Z85


def new_key(path: Path) -> KeyPair:
    """Make a key file, readable by the owner only; one that exists is left alone."""
    public, secret = zmq.curve_keypair()
    pair = KeyPair(public.decode(), secret.decode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as wrong:
        raise InputError(f"cannot write key {path}: {wrong.strerror}") from wrong
    with os.fdopen(file, "wb") as out:
        out.write(msgspec.json.encode(pair) + b"\n")
    return pair


def load_key(path: Path) -> KeyPair:
    """Read a key file; refused where others could read it, or its two halves do not fit."""
    try:
        check_secret(path)
        pair = msgspec.json.decode(path.read_bytes(), type=KeyPair)
        fits = zmq.curve_public(pair.secret.encode()).decode() == pair.public
    except OSError as wrong:
        raise InputError(f"cannot read key {path}: {wrong.strerror}") from wrong
    except (msgspec.DecodeError, UnicodeError, ValueError) as wrong:
        raise InputError(f"key {path}: not a key file of ours") from wrong
    if not fits:
        raise InputError(f"key {path}: public and secret key do not belong together")
    return pair


def local_key(home: Path) -> KeyPair:
    """Return this user's own key, made when it is first asked for."""
    path = home / "keys" / "local.key"
    if not path.exists():
        try:
            return new_key(path)
        except InputError:
            if not path.exists():
                raise
    return load_key(path)


def roles(safety: SafetyEntry, local: KeyPair, mode: str) -> dict[str, Role]:
    """Return what each public key may do at a supervisor in a mode."""
    own: Role = "arm" if mode in ("sim", "stub") else "operate"
    return {local.public: own} | {key.public: key.role for key in safety.key}


def at_least(role: Role, needed: Role) -> bool:
    """Tell whether a role may do what another one may.

    >>> at_least("arm", "operate"), at_least("observe", "operate")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)

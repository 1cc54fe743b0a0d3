"""Key pairs, and the files that hold them.

A key has two files. ``NAME.key`` holds the secret half (mode 0600) and never leaves the machine of
its owner; it is the same file that ``dpem lab --key`` takes. ``NAME.pub`` holds name, role and
public half: this one travels, and a broker admits whoever is in its folder. ``NAME.MARK.revoked``
remembers a key that is not to come back.
"""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import msgspec
import zmq

from quantum.errors import InputError
from quantum.home import state_home
from quantum.private import check_folder, check_public, check_secret, make_folder, write_whole
from quantum.roles import Role

__all__ = [
    "KeyPair",
    "PublicKey",
    "default_folder",
    "load_pair",
    "load_public",
    "new_key",
    "new_keys",
    "revoke_key",
    "valid_name",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_T = TypeVar("_T")
_Z85 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")]


class KeyPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CURVE key pair in z85, as it stands in a ``.key`` file."""

    public: _Z85
    secret: _Z85


class PublicKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What others know of a key, as it stands in a ``.pub`` or ``.revoked`` file; times are UTC."""

    name: str
    role: Role
    public: _Z85
    made: str = ""
    revoked: str = ""


def new_keys() -> KeyPair:
    """Make a key pair from the operating system's randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def default_folder() -> Path:
    """Return the folder of this user's keys."""
    return state_home() / "keys"


def valid_name(name: str) -> str:
    """Return a name that may be a key's, or raise :class:`InputError`."""
    if not _NAME.match(name):
        raise InputError(
            f"name {name[:80]!r}: letters, digits, '.', '_' and '-' are allowed, at most 64, "
            "and a letter or digit first"
        )
    return name


def new_key(folder: Path, name: str, role: Role) -> PublicKey:
    """Make a key: both files in ``folder``, which is made if need be.

    A name whose key was revoked may get a new one. A secret file that is there without its public
    one is kept: somebody was interrupted, or ``dpem lab`` made it.
    """
    valid_name(name)
    if role not in get_args(Role):
        raise InputError(f"role {role!r}: one of {', '.join(get_args(Role))}")
    make_folder(folder)
    with _alone(folder):
        secret, public = folder / f"{name}.key", folder / f"{name}.pub"
        if public.exists():
            raise InputError(f"key {name} exists already in {folder}; revoke it first")
        pair = load_pair(secret) if secret.exists() else None
        gone = pair is not None and (folder / f"{name}.{_mark(pair.public)}.revoked").exists()
        if pair is None or gone:
            pair = new_keys()
            # The secret first: whoever is on a broker's list has to have a key.
            write_whole(secret, _json(pair), mode=0o600, replace=gone)
        known = PublicKey(name, role, pair.public, _now())
        write_whole(public, _json(known), mode=0o644)
    return known


def revoke_key(folder: Path, name: str) -> PublicKey:
    """Strike a key off the list of a folder for good; running brokers notice by themselves."""
    valid_name(name)
    check_folder(folder)
    with _alone(folder):
        public = folder / f"{name}.pub"
        if not public.exists():
            gone = any(folder.glob(f"{name}.*.revoked"))
            why = "was revoked already" if gone else f"is not in {folder}; see dpem keys list"
            raise InputError(f"key {name} {why}")
        known = msgspec.structs.replace(load_public(public), revoked=_now())
        # What is revoked counts more than what is listed, so no moment lies between the two.
        write_whole(
            folder / f"{name}.{_mark(known.public)}.revoked",
            _json(known),
            mode=0o644,
            replace=True,
        )
        public.unlink()
    return known


def load_pair(path: Path) -> KeyPair:
    """Read a ``.key`` file; refused where others could read it, or its halves do not fit."""
    check_secret(path)
    pair = _read(path, KeyPair)
    try:
        fits = zmq.curve_public(pair.secret.encode()).decode() == pair.public
    except ValueError:
        fits = False
    if not fits:
        raise InputError(f"key {path}: public and secret do not belong together")
    return pair


def load_public(path: Path) -> PublicKey:
    """Read a ``.pub`` or ``.revoked`` file; its name has to be the one that it tells."""
    check_public(path)
    known = _read(path, PublicKey)
    suffix = f".{_mark(known.public)}.revoked" if path.suffix == ".revoked" else ".pub"
    if not _NAME.match(known.name) or path.name != known.name + suffix:
        raise InputError(f"key {path}: name {known.name[:80]!r} does not fit the file's name")
    if bool(known.revoked) != (path.suffix == ".revoked"):
        raise InputError(f"key {path}: revoked is for .revoked files, and they need it")
    return known


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        with path.open("rb") as file:
            data = file.read(4097)
    except OSError as wrong:
        raise InputError(f"cannot read key {path}: {wrong.strerror}") from wrong
    if len(data) > 4096:
        raise InputError(f"key {path}: longer than 4096 bytes, not a key file")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        # Never what stands there: it may be half of a secret.
        why = str(wrong).splitlines()[0] if isinstance(wrong, msgspec.ValidationError) else ""
        raise InputError(f"key {path}: {why or 'not JSON of a key file'}") from wrong


def _mark(public: str) -> str:
    return hashlib.sha256(public.encode()).hexdigest()[:12]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value) + b"\n"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from changing the folder; readers need no lock, as files appear whole."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as wrong:
        raise InputError(f"cannot read folder {folder}: {wrong.strerror}") from wrong
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

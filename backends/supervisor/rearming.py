"""What only a person may do: undo a latch, and let real instruments be commanded."""

import os
from pathlib import Path

from backends.supervisor.audit import open_log
from backends.supervisor.client import Client, key_of, new_rid
from backends.supervisor.keys import KeyPair, at_least, roles
from backends.supervisor.messages import Rearm
from backends.supervisor.places import Kept, lock, place_of, read_endpoint, read_kept
from quantum.errors import InputError
from quantum.rack import Rack, load_rack

__all__ = ["check_person", "rearm"]

_PATIENCE_S = 30.0


def check_person(rack: Rack, mode: str, key: Path | None) -> None:
    """Refuse to open real instruments without a key of role arm that the rack file knows."""
    if mode not in ("shadow", "armed"):
        return
    if key is None:
        raise InputError(f"mode {mode} needs --key FILE with a key of role arm")
    _check_arm(rack, mode, key_of(key))


def _check_arm(rack: Rack, mode: str, key: KeyPair) -> None:
    role = roles(rack.safety, key_of(None), mode).get(key.public)
    if role is None or not at_least(role, "arm"):
        has = "is not in the rack file" if role is None else f"has role {role}"
        raise InputError(f"this key {has}; role arm is needed, see [[safety.key]]")


def rearm(path: Path, reason: str, key: Path | None) -> str:
    """Undo the latch of a rack, with or without a running supervisor; return why it was latched.

    Raises :class:`InputError` where it is not latched or the key may not, and
    :class:`quantum.errors.RequestError` where the supervisor refuses.
    """
    rack = load_rack(path)
    if not reason.strip():
        raise InputError("--reason must say why")
    place = place_of(path)
    kept = read_kept(place)
    at = read_endpoint(place)
    if at is not None:
        with Client(at.commands, at.public, key_of(key)) as client:
            client.demand(Rearm(new_rid(), reason[:400]), _PATIENCE_S)
        return kept.latched
    why = kept.latched or ("a supervisor ended without a word" if kept.active else "")
    if not why:
        raise InputError(f"rack {path} is not latched")
    _check_arm(rack, kept.mode, key_of(key))
    # With the lock nobody can start a supervisor in between.
    held = lock(place)
    log = None
    try:
        log = open_log(place / "audit.jsonl")
        log.append("rearmed", sync=True, reason=reason, was=why, key=key_of(key).public)
        Kept(kept.token, "", active=False, mode=kept.mode).write(place)
    except OSError as wrong:
        raise InputError(f"cannot write {place}: {wrong.strerror}") from wrong
    finally:
        if log is not None:
            log.close()
        os.close(held)
    return why

"""The file of a key management entity: who it is, whom it serves, and with whom it shares keys."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from quantum.errors import InputError

__all__ = ["Kme", "PeerEntry", "load_kme"]

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Bits = Annotated[int, msgspec.Meta(ge=8, le=1_048_576, multiple_of=8)]


class PeerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another KME: its id (the common name of its certificate), address, and the SAEs it serves."""

    id: Name
    url: Annotated[str, msgspec.Meta(pattern=r"^https://[^/\s]+$")]
    saes: tuple[Name, ...]


class Kme(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One KME. Files are relative to the file that names them; sizes are in bits."""

    id: Name
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8443
    certificate: str
    private_key: str
    authority: str
    store: str
    saes: tuple[Name, ...]
    peer: tuple[PeerEntry, ...]
    key_size: Bits = 256
    min_key_size: Bits = 64
    max_key_size: Bits = 4096
    max_key_per_request: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 128
    max_key_count: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    """Told in the status, as the standard asks; a store takes whatever it is given."""
    max_sae_id_count: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    retry_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 60.0
    """How long an answer is kept for whoever repeats a request with its Idempotency-Key."""

    def peer_of(self, sae: str) -> PeerEntry | None:
        """Return the KME that serves an application, None where it is not known."""
        return next((peer for peer in self.peer if sae in peer.saes), None)


def load_kme(path: Path) -> Kme:
    """Read a KME file, with its files found; :class:`InputError` names the field that is wrong."""
    try:
        kme = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Kme)
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
        raise InputError(f"{path}: {wrong}") from wrong
    if not kme.min_key_size <= kme.key_size <= kme.max_key_size:
        raise InputError(f"{path}: key_size must lie between min_key_size and max_key_size")
    served = [*kme.saes, *(sae for peer in kme.peer for sae in peer.saes)]
    if len(set(served)) < len(served):
        raise InputError(f"{path}: an SAE is served by one KME only")
    found = {}
    for field in ("certificate", "private_key", "authority", "store"):
        place = path.parent / getattr(kme, field)
        if field != "store" and not place.is_file():
            raise InputError(f"{path}: {field} names {place}, which is no file")
        found[field] = str(place)
    return msgspec.structs.replace(kme, **found)

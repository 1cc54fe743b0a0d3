"""ETSI GS QKD 014 V1.1.1 (2019) without its sockets: who asks for what, and the answer.

The standard leaves open how two KMEs agree on who gets which bits. Ours tell each other before the
master has its answer: ``reserve`` goes to the slave's KME over the same mutual TLS. A key whose
reservation did not get through is lost, never handed out twice.
"""

import base64
import uuid
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from controller.qkd.kme_file import Kme, PeerEntry
from controller.qkd.store import Cut, KeyStore, NoKeys
from quantum.errors import InputError

__all__ = ["Answer", "DecRequest", "EncRequest", "Kme014", "Refused", "Reserve"]

_NOT_FOUND = "one or more keys specified are not found on KME"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
KeyId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F\-]{36}$")]


class EncRequest(msgspec.Struct, frozen=True):
    """Key request (section 6.2): unknown fields are ignored, as the standard has it."""

    number: int = 1
    size: int | None = None
    additional_slave_SAE_IDs: tuple[Name, ...] = ()  # noqa: N815 - the standard's name
    extension_mandatory: tuple[dict[str, Any], ...] = ()
    extension_optional: tuple[dict[str, Any], ...] = ()


class _KeyId(msgspec.Struct, frozen=True):
    key_ID: KeyId  # noqa: N815 - the standard's name


class DecRequest(msgspec.Struct, frozen=True):
    """Key IDs (section 6.4)."""

    key_IDs: tuple[_KeyId, ...]  # noqa: N815 - the standard's name


class Reserve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one KME tells the other: these bits are keys of this master and these slaves."""

    master: Name
    slaves: tuple[Name, ...]
    cuts: tuple[Cut, ...]


class Refused(Exception):
    """A request that is answered with an error: HTTP status, message, details."""

    def __init__(self, status: int, message: str, *details: str) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, details

    @property
    def body(self) -> bytes:
        """The error object of section 6.5."""
        error: dict[str, Any] = {"message": self.message}
        if self.details:
            error["details"] = [{"detail": text} for text in self.details]
        return msgspec.json.encode(error)


@dataclass(frozen=True)
class Answer:
    """Keys to reserve with ``peer`` before the master may have them."""

    peer: PeerEntry
    reserve: Reserve


class Kme014:
    """Answers for one KME; who asks is told by the certificate, never by the request."""

    def __init__(self, kme: Kme, store: KeyStore) -> None:
        self.kme, self._store = kme, store

    def status(self, master: str, slave: str) -> bytes:
        """Answer ``GET .../{slave}/status``."""
        kme, peer = self.kme, self._pair(master, slave)
        return msgspec.json.encode(
            {
                "source_KME_ID": kme.id,
                "target_KME_ID": peer.id,
                "master_SAE_ID": master,
                "slave_SAE_ID": slave,
                "key_size": kme.key_size,
                "stored_key_count": self._store.stored_bytes(peer.id) * 8 // kme.key_size,
                "max_key_count": kme.max_key_count,
                "max_key_per_request": kme.max_key_per_request,
                "max_key_size": kme.max_key_size,
                "min_key_size": kme.min_key_size,
                "max_SAE_ID_count": kme.max_sae_id_count,
            }
        )

    def begin(self, master: str, slave: str, asked: EncRequest) -> Answer:
        """Cut the keys that a master asks for; they are not handed out before :meth:`finish`."""
        kme, peer = self.kme, self._pair(master, slave)
        size = kme.key_size if asked.size is None else asked.size
        if asked.extension_mandatory:
            names = sorted({name for part in asked.extension_mandatory for name in part})
            raise Refused(400, "not all extension_mandatory parameters are supported", *names)
        if not 1 <= asked.number <= kme.max_key_per_request:
            raise Refused(400, f"number must be from 1 to {kme.max_key_per_request}")
        if not kme.min_key_size <= size <= kme.max_key_size:
            raise Refused(400, f"size must be from {kme.min_key_size} to {kme.max_key_size}")
        if size % 8:
            raise Refused(400, "size shall be a multiple of 8")
        more = asked.additional_slave_SAE_IDs
        if len(more) > kme.max_sae_id_count:
            raise Refused(
                400, f"at most {kme.max_sae_id_count} additional_slave_SAE_IDs are served"
            )
        slaves = (slave, *more)
        if len(set(slaves)) < len(slaves) or any(kme.peer_of(who) != peer for who in more):
            raise Refused(400, f"additional_slave_SAE_IDs must be different SAEs of {peer.id}")
        # An id tells nothing of the key, and nobody can guess it.
        ids = [str(uuid.uuid4()) for _ in range(asked.number)]
        try:
            with self._store.whole():
                cuts = self._store.cut(peer.id, ids, size // 8)
        except NoKeys:
            raise Refused(503, f"not enough keys are stored with {peer.id}: try again") from None
        return Answer(peer, Reserve(master, slaves, tuple(cuts)))

    def finish(self, answer: Answer) -> bytes:
        """Hand the keys to the master, now that the other KME knows of them."""
        keys = []
        with self._store.whole():
            for cut in answer.reserve.cuts:
                # The slaves are served by the other KME: here the master's copy is the only one.
                self._store.assign(answer.peer.id, cut, answer.reserve.master, ())
                keys.append(_key(cut.id, self._store.give_master(cut.id)))
        return msgspec.json.encode({"keys": keys})

    def reserved(self, peer_id: str, told: Reserve) -> None:
        """Take over what another KME cut; :class:`Refused` where it cannot be."""
        peer = next((entry for entry in self.kme.peer if entry.id == peer_id), None)
        if peer is None:
            raise Refused(401, f"{peer_id} is no KME that shares keys with {self.kme.id}")
        if told.master not in peer.saes or any(who not in self.kme.saes for who in told.slaves):
            raise Refused(400, f"master must be an SAE of {peer.id}, slaves of {self.kme.id}")
        try:
            with self._store.whole():
                for cut in told.cuts:
                    if not self._store.known(cut.id):
                        self._store.follow(peer.id, cut)
                        self._store.assign(peer.id, cut, told.master, told.slaves)
        except InputError as wrong:
            raise Refused(400, str(wrong)) from wrong

    def take(self, slave: str, master: str, asked: DecRequest) -> bytes:
        """Answer ``.../{master}/dec_keys``: all keys that were asked for, or none."""
        self._pair(slave, master)
        ids = [entry.key_ID for entry in asked.key_IDs]
        if not 1 <= len(ids) <= self.kme.max_key_per_request or len(set(ids)) < len(ids):
            raise Refused(
                400, f"key_IDs must be from 1 to {self.kme.max_key_per_request} different ids"
            )
        keys = []
        with self._store.whole():
            for key in ids:
                bits = self._store.take(key, master, slave)
                if bits is None:
                    raise Refused(400, _NOT_FOUND, key)
                keys.append(_key(key, bits))
        return msgspec.json.encode({"keys": keys})

    def _pair(self, caller: str, other: str) -> PeerEntry:
        """Check that the caller is served here and the other by a KME we share keys with."""
        if caller not in self.kme.saes:
            raise Refused(401, f"SAE {caller!r} is not served by {self.kme.id}")
        peer = self.kme.peer_of(other)
        if peer is None:
            raise Refused(400, f"SAE {other!r} is not known to {self.kme.id}")
        return peer


def _key(name: str, bits: bytes) -> dict[str, str]:
    return {"key_ID": name, "key": base64.b64encode(bits).decode()}

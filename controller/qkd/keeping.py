"""Keys of an agreement into the stores of both ends, as files that KMEs open."""

from pathlib import Path

from controller.qkd.hashing import pack
from controller.qkd.session import Agreement
from controller.qkd.store import KeyStore

__all__ = ["keep"]


def keep(agreement: Agreement, folder: Path, source: str, destination: str) -> int:
    """Put the key into both stores; returns the bytes that each of them got.

    Blocks alternate between both sides: the one hands out keys of its own halves only, so two
    applications that ask at once, one at each end, never get the same bits.
    """
    alice, bob = pack(agreement.alice), pack(agreement.bob)
    if not alice:
        return 0
    half = len(alice) // 2
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, peer, bits, first in (
        (source, destination, alice, True),
        (destination, source, bob, False),
    ):
        store = KeyStore(folder / f"{name}.sqlite")
        try:
            with store.whole():
                block = store.next_block(peer)
                store.put(peer, block, bits[:half], mine=first)
                store.put(peer, block + 1, bits[half:], mine=not first)
        finally:
            store.close()
    return len(alice)

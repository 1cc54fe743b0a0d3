"""A client that floods ``dpem serve`` over several connections, and one that asks now and then."""

import threading

from served import serving

from controller.security.keys import load_pair, new_key
from controller.service.checking import check
from quantum.errors import Code
from quantum.requests import Ask, Denied, Granted, decode_answer, encode_request

#: Requests of the flood that are under way on each connection; more than all its credits.
WINDOW, PAIRS, ASKED = 150, 40, 60


class Flood(threading.Thread):
    """Keeps a connection full of requests for many pairs, until it is told to end."""

    def __init__(self, client, number, full):
        super().__init__()
        self.client, self.number, self.full = client, number, full
        self.over = threading.Event()

    def run(self):
        out = sent = 0
        while not self.over.is_set():
            while out < WINDOW:
                sent, out = sent + 1, out + 1
                rid = bytes([self.number]) + sent.to_bytes(15, "big")
                wish = {"pairs": PAIRS, "minimum_fidelity": 0.7}
                until_s = self.client.now() + 290.0
                ask = Ask(rid, self.client.session, "a", "b", until_s, **wish)
                self.client.socket.send(encode_request(ask))
            if not self.client.socket.poll(100):
                continue
            answer = decode_answer(self.client.socket.recv())
            out -= 1
            if isinstance(answer, Denied):
                # All credits of this key are out.
                assert answer.code is Code.BUSY, answer
                self.full.set()


def ask_on(client, a, b):
    """Ask one by one, and get every pair. A minute is 3,000 slots of the network."""
    for number in range(ASKED):
        rid = f"modest {a} {b}".encode() + number.to_bytes(6, "big")
        until_s = client.now() + 60.0
        wish = {"pairs": 1, "minimum_fidelity": 0.7}
        client.socket.send(encode_request(Ask(rid, client.session, a, b, until_s, **wish)))
        assert client.socket.poll(60_000)
        answer = decode_answer(client.socket.recv())
        assert answer.rid == rid and isinstance(answer, Granted), answer


def test_a_flood_takes_nothing_from_who_asks_for_less(tmp_path):
    """All credits out, 10,240 pairs in front of everybody who comes: nobody else notices.

    First come, first served would have let each request wait for all of them, and end without a
    pair. The network's time goes on as requests come, so the machine's speed counts for nothing.
    """
    for name in ("flood", "modest"):
        new_key(tmp_path / "keys", name, "request")
    with serving(tmp_path, "most_s = 300.0\nrate_hz = 1e6", level="info") as served:
        keys = {n: load_pair(tmp_path / "keys" / f"{n}.key") for n in ("flood", "modest")}
        full = threading.Event()
        floods = [Flood(served.client(keys["flood"]), number, full) for number in range(2)]
        with served.client(keys["modest"]) as modest:
            for flood in floods:
                flood.start()
            try:
                assert full.wait(120.0)
                # The link that is flooded, and a chain of which it is part.
                for b in "bd":
                    ask_on(modest, "a", b)
            finally:
                for flood in floods:
                    flood.over.set()
                for flood in floods:
                    flood.join()
                    flood.client.close()
        assert served.end() == 0
    # The link did not stand still beside that: the flood has had as much, or more.
    assert check(served.folder / "journal.db").pairs > 3 * ASKED

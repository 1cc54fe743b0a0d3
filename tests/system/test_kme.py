"""Key management entities over real TLS, asked by the standard library's HTTPS client."""

import base64
import http.client
import json
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.qkd.certificates import issue
from controller.qkd.keeping import keep
from controller.qkd.kme_file import load_kme
from controller.qkd.session import Agreement
from controller.qkd.store import Cut, KeyStore, NoKeys
from quantum.errors import InputError

BYTES = 4096
FILE = """
id = "{id}"
port = {port}
certificate = "certs/{id}.pem"
private_key = "certs/{id}.key"
authority = "certs/authority.pem"
store = "{id}.sqlite"
saes = [{saes}]
{more}
[[peer]]
id = "{peer}"
url = "https://127.0.0.1:{peer_port}"
saes = [{peer_saes}]
"""


def agreement(size: int = BYTES) -> Agreement:
    bits = np.random.default_rng(5).integers(0, 2, size * 8, dtype=np.uint8)
    return Agreement(bits, bits.copy(), (), ())


class Entity:
    """A KME process."""

    def __init__(self, file: Path) -> None:
        said = file.with_suffix(".json")
        self.process = subprocess.Popen(
            [
                *(str(Path(sys.executable).parent / "dpem"), "kme", "serve", str(file)),
                *("--json", str(said)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        assert self.line, self.process.communicate()[1]
        self.port = int(self.line.rsplit(":", 1)[1])
        assert json.loads(said.read_text())["port"] == self.port

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        _, complaints = self.process.communicate(timeout=60)
        assert complaints == ""
        assert self.process.returncode == 0


class Rig:
    """Two KMEs, A with alice and B with bob and carol, and their certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ["A", "B", "alice", "bob", "carol", "mallory"]
        issue(folder / "certs", names, ["127.0.0.1", "localhost"])
        issue(folder / "others", ["alice"], ["localhost"])
        keep(agreement(), folder, "A", "B")
        # A's port must be known to B and the other way round: B is told A's after it is open.
        self.b = self.start("B", "A", 0, 1, '"bob", "carol"', '"alice"')
        self.a = self.start("A", "B", 0, self.b.port, '"alice"', '"bob", "carol"')

    def start(
        self, name: str, peer: str, port: int, peer_port: int, saes: str, peer_saes: str
    ) -> Entity:
        file = self.folder / f"{name}.toml"
        more = "max_sae_id_count = 2" if name == "A" else ""
        text = FILE.format(
            id=name,
            peer=peer,
            port=port,
            peer_port=peer_port,
            saes=saes,
            peer_saes=peer_saes,
            more=more,
        )
        file.write_text(text)
        return Entity(file)

    def ask(
        self,
        who: str,
        kme: Entity,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        certs: str = "certs",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "authority.pem"))
        if who:
            place = self.folder / certs
            context.load_cert_chain(place / f"{who}.pem", place / f"{who}.key")
        wire = http.client.HTTPSConnection("localhost", kme.port, context=context, timeout=60)
        try:
            raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            verb = method or ("GET" if body is None else "POST")
            wire.request(verb, path, raw, headers or {})
            answer = wire.getresponse()
            assert answer.headers["Content-Type"].startswith("application/json")
            return answer.status, json.loads(answer.read())
        finally:
            wire.close()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("kme"))
    yield made
    made.a.close()
    made.b.close()


ENC = "/api/v1/keys/bob/enc_keys"
DEC = "/api/v1/keys/alice/dec_keys"


def ids(answer: Any) -> list[str]:
    return [key["key_ID"] for key in answer["keys"]]


def test_a_key_goes_to_both_and_once(rig: Rig) -> None:
    code, status = rig.ask("alice", rig.a, "/api/v1/keys/bob/status")
    assert code == 200
    assert status["source_KME_ID"] == "A"
    assert status["target_KME_ID"] == "B"
    before = status["stored_key_count"]
    code, given_ = rig.ask("alice", rig.a, ENC, {"number": 3, "size": 128})
    assert code == 200
    assert [len(base64.b64decode(key["key"])) for key in given_["keys"]] == [16] * 3
    wanted = {"key_IDs": [{"key_ID": name} for name in ids(given_)]}
    assert rig.ask("bob", rig.b, DEC, wanted) == (200, given_)
    code, again = rig.ask("bob", rig.b, DEC, wanted)
    assert code == 400
    assert again["message"] == "one or more keys specified are not found on KME"
    after = rig.ask("alice", rig.a, "/api/v1/keys/bob/status")[1]["stored_key_count"]
    assert after < before
    # What was handed out is not to be found in any file any more.
    for key in given_["keys"]:
        for file in rig.folder.glob("*.sqlite"):
            assert base64.b64decode(key["key"]) not in file.read_bytes()


def test_get_and_post_are_the_same(rig: Rig) -> None:
    code, given_ = rig.ask("alice", rig.a, f"{ENC}?number=2&size=256")
    assert code == 200
    one, two = ids(given_)
    code, taken = rig.ask("bob", rig.b, f"{DEC}?key_ID={one}&key_ID={two}")
    assert (code, taken) == (200, given_)


def test_all_keys_or_none(rig: Rig) -> None:
    _, given_ = rig.ask("alice", rig.a, ENC, {})
    (name,) = ids(given_)
    other = "00000000-0000-4000-8000-000000000000"
    both = {"key_IDs": [{"key_ID": name}, {"key_ID": other}]}
    code, refused = rig.ask("bob", rig.b, DEC, both)
    assert code == 400
    assert refused["details"] == [{"detail": other}]
    assert rig.ask("bob", rig.b, f"{DEC}?key_ID={name}") == (200, given_)


def test_several_slaves_get_the_same_key(rig: Rig) -> None:
    code, given_ = rig.ask("alice", rig.a, ENC, {"additional_slave_SAE_IDs": ["carol"]})
    assert code == 200
    for who in ("carol", "bob"):
        assert rig.ask(who, rig.b, f"{DEC}?key_ID={ids(given_)[0]}") == (200, given_)
        assert rig.ask(who, rig.b, f"{DEC}?key_ID={ids(given_)[0]}")[0] == 400


def test_a_key_is_only_for_whom_it_is(rig: Rig) -> None:
    _, given_ = rig.ask("alice", rig.a, ENC, {})
    path = f"{DEC}?key_ID={ids(given_)[0]}"
    assert rig.ask("carol", rig.b, path)[0] == 400
    assert rig.ask("alice", rig.b, path)[0] == 401
    assert rig.ask("mallory", rig.b, path)[0] == 401
    assert rig.ask("bob", rig.b, path)[0] == 200
    for who in ("mallory", "bob", "B"):
        assert rig.ask(who, rig.a, ENC, {})[0] == 401
    assert rig.ask("bob", rig.b, "/peer/v1/reserve", {"master": "a", "slaves": [], "cuts": []})[
        0
    ] == (401)


def test_strangers_do_not_get_through_tls(rig: Rig) -> None:
    for who, certs in (("", "certs"), ("alice", "others")):
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            rig.ask(who, rig.a, "/api/v1/keys/bob/status", certs=certs)


def test_a_lost_answer_is_not_a_lost_key(rig: Rig) -> None:
    token = {"Idempotency-Key": "first"}
    first = rig.ask("alice", rig.a, ENC, {"number": 2}, headers=token)
    assert rig.ask("alice", rig.a, ENC, {"number": 2}, headers=token) == first
    assert rig.ask("alice", rig.a, ENC, {"number": 1}, headers=token)[0] == 400
    path = f"{DEC}?key_ID={ids(first[1])[0]}"
    taken = rig.ask("bob", rig.b, path, headers=token)
    assert taken[0] == 200
    assert rig.ask("bob", rig.b, path, headers=token) == taken
    assert rig.ask("bob", rig.b, path)[0] == 400
    assert rig.ask("bob", rig.b, path, headers={"Idempotency-Key": "x" * 129})[0] == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"number": 0}, "number must be"),
        ({"number": 1000}, "number must be"),
        ({"size": 12}, "size must be from"),
        ({"size": 100}, "multiple of 8"),
        ({"size": "big"}, "bad request format"),
        ({"extension_mandatory": [{"route": 1}]}, "extension_mandatory"),
        ({"additional_slave_SAE_IDs": ["bob"]}, "different SAEs"),
        ({"additional_slave_SAE_IDs": ["dave"]}, "different SAEs"),
        (b"{", "bad request format"),
        (b"[" * 100_000, "bad request format"),
    ],
)
def test_bad_requests_are_named(rig: Rig, body: Any, said: str) -> None:
    code, answer = rig.ask("alice", rig.a, ENC, body)
    assert code == 400
    assert said in answer["message"]


def test_an_optional_extension_is_ignored(rig: Rig) -> None:
    body = {"number": 1, "extension_optional": [{"colour": "blue"}], "unknown": 1}
    assert rig.ask("alice", rig.a, ENC, body)[0] == 200


def test_other_ways_are_refused_as_the_standard_answers(rig: Rig) -> None:
    assert rig.ask("alice", rig.a, "/api/v2", None)[0] == 404
    assert rig.ask("alice", rig.a, ENC, None, method="DELETE")[0] == 405
    assert rig.ask("alice", rig.a, ENC, b" " * 300_000)[0] == 413
    assert rig.ask("alice", rig.a, "/api/v1/keys/nobody/enc_keys", {})[0] == 400
    assert rig.ask("alice", rig.a, f"{ENC}?number=many")[0] == 400
    assert rig.ask("bob", rig.b, DEC, {"key_IDs": []})[0] == 400


def test_without_the_other_side_there_is_no_key(rig: Rig) -> None:
    """B is told another port of A, where nobody listens: what it cuts is lost, not doubled."""
    code, answer = rig.ask("bob", rig.b, "/api/v1/keys/alice/enc_keys", {})
    assert code == 503
    assert "cannot be reached" in answer["message"]


def test_stored_keys_come_to_an_end(rig: Rig) -> None:
    codes = {rig.ask("alice", rig.a, ENC, {"number": 64, "size": 4096})[0] for _ in range(2)}
    assert codes == {503}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.sampled_from([8, 24, 64])), max_size=8)
)
def test_two_sides_never_cut_the_same_bits(asked: list[tuple[bool, int, int]]) -> None:
    # In memory where there is such a folder: every step is flushed to the disk.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        cut_in_turns(Path(folder), asked)


def cut_in_turns(folder: Path, asked: list[tuple[bool, int, int]]) -> None:
    keep(agreement(600), folder, "A", "B")
    stores = {name: KeyStore(folder / f"{name}.sqlite") for name in "AB"}
    cut: set[tuple[int, int]] = set()
    try:
        for number, (first, keys, size) in enumerate(asked):
            one, other = ("A", "B") if first else ("B", "A")
            names = [f"{number:08x}-0000-4000-8000-{key:012x}" for key in range(keys)]
            held = stores[one].stored_bytes(other)
            try:
                with stores[one].whole():
                    cuts = stores[one].cut(other, names, size)
            except NoKeys:
                assert stores[one].stored_bytes(other) == held
                assert held < keys * size + size
                continue
            with stores[other].whole():
                for part in cuts:
                    stores[other].follow(one, part)
                    stores[other].assign(one, part, "master", ("slave",))
            with stores[one].whole():
                for part in cuts:
                    stores[one].assign(other, part, "master", ())
                    mine = stores[one].give_master(part.id)
                    assert stores[other].take(part.id, "master", "slave") == mine
                    assert stores[other].take(part.id, "master", "slave") is None
                    places = {(part.block, place) for place in range(part.start, part.start + size)}
                    assert not places & cut
                    cut |= places
    finally:
        for store in stores.values():
            store.close()


def test_answers_are_kept_for_a_while_and_then_erased(tmp_path: Path) -> None:
    """They hold keys: an answer stays as long as it may be asked for again, and no longer."""
    now = [100.0]
    path = tmp_path / "A.sqlite"
    store = KeyStore(path, clock=lambda: now[0])
    key = b"a key that is in an answer"
    store.remember("alice", "token", b"question", key, 60.0)
    now[0] += 59.0
    store.forget()
    assert store.answered("alice", "token", b"question") == key
    with pytest.raises(InputError, match="another request"):
        store.answered("alice", "token", b"other")
    assert key in path.read_bytes()
    now[0] += 2.0
    store.forget()
    assert store.answered("alice", "token", b"question") is None
    assert key not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()


def test_bits_that_are_not_there_are_refused(tmp_path: Path) -> None:
    keep(agreement(64), tmp_path, "A", "B")
    store = KeyStore(tmp_path / "B.sqlite")
    key = "00000000-0000-4000-8000-000000000000"
    for block, start, size in ((7, 0, 8), (0, 30, 8), (1, 0, 8)):
        with pytest.raises(InputError, match="no such bits"):
            store.follow("A", Cut(key, block, start, size))
    with pytest.raises(InputError, match="already"):
        store.put("A", 0, b"x", mine=True)
    store.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "A"', 'id = "A b"', r"\$\.id"),
        ("port = 1", "port = 1\ncolour = 3", "colour"),
        ('"bob"', '"alice"', "served by one KME only"),
        ('"certs/A.pem"', '"certs/none.pem"', "certificate names"),
        ("port = 1", "port = 1\nkey_size = 8192", "key_size must lie"),
        ("https://127.0.0.1:2", "http://127.0.0.1:2", r"\$\.peer\[0\]\.url|url"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    issue(tmp_path / "certs", ["A"], ["localhost"])
    text = FILE.format(
        id="A", peer="B", port=1, peer_port=2, saes='"alice"', peer_saes='"bob"', more=""
    )
    assert old in text
    file = tmp_path / "kme.toml"
    file.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        load_kme(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot write"):
        issue(tmp_path / "certs", ["A"], ["localhost"])

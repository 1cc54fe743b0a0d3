"""A ring in three regions for tests, on simulated time: real brokers, desks and journals.

Only the network between them is played: frames are late, lost, sent twice, or cut off.
"""

import random
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec

from controller.game import world_of
from controller.regions.broker import Broker
from controller.regions.building import broker_of, journals_of, open_journal
from controller.regions.checking import check_regions
from controller.regions.config import RegionConfig, RegionsConfig, key_name
from controller.regions.territory import Territory
from controller.security.keyring import Client, Keyring
from controller.service.building import rule_for, scenario_for, seed_of
from controller.service.checking import last_sequence
from controller.service.desk import Desk
from controller.service.entries import Started
from controller.service.journal import Journal
from controller.service.stock import Stock
from controller.service.terms import Terms
from controller.setting import Setting
from quantum.network import Network
from quantum.requests import (
    Again,
    Ask,
    Denied,
    Granted,
    Open,
    Opened,
    decode_answer,
    decode_ask,
    encode_request,
)
from quantum.scenario import Scenario
from quantum.topology import to_json

REGIONS = {"east": ("n0", "n1"), "north": ("n2", "n3"), "west": ("n4", "n5")}
ADA = Client("ada", "request", "a" * 40)
TICK_S = 0.02


@cache
def ring() -> Network:
    whole = scenario_for(Setting(topology="ring-6", demand="poisson", load_hz=10.0)).network
    return replace(
        whole,
        generation_hz=whole.generation_hz * 0 + 60.0,
        swap_hz=whole.swap_hz * 0 + 60.0,
        qubits=whole.qubits * 0 + 16,
    )


@cache
def territory() -> Territory:
    return Territory(ring(), REGIONS)


@cache
def _scenario(name: str) -> tuple[Scenario, object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.json"
        path.write_bytes(to_json(territory().parts[name].network))
        scenario = scenario_for(Setting(topology=str(path), demand="poisson", load_hz=10.0))
    return scenario, world_of(scenario)


class Region:
    """A broker and its service; :meth:`start` again after a kill goes on from the journals."""

    def __init__(self, name, folder, terms):
        self.name, self.folder, self.terms = name, folder, terms
        regions = {
            n: RegionConfig(address=f"tcp://h:{k}", nodes=nodes)
            for k, (n, nodes) in enumerate(REGIONS.items())
        }
        self.config = RegionsConfig(regions=regions, terms=terms)
        self.starts = 0
        self.broker: Broker | None = None

    def start(self, now_s):
        self.starts += 1
        paths = journals_of(self.folder, self.name)
        self.kept, self.links = open_journal(paths[0], durable=False), Journal(paths[1])
        self.broker = broker_of(
            self.name, territory(), self.config, self.kept, Keyring([ADA]), now_s=now_s
        )
        scenario, world = _scenario(self.name)
        stock = Stock(
            scenario.network,
            world,
            rule_for("mean-rate", scenario),
            rows=32,
            batch=8,
            seed=seed_of(0, self.starts),
        )
        owner = Client(key_name(self.name), "request", self.name.ljust(40, "."))
        terms = msgspec.structs.replace(self.terms, credits=4096, load_hz=10.0)
        self.desk = Desk(stock, self.links, terms, Keyring([owner]), epoch=self.starts, now_s=now_s)
        self.owner = owner
        entries = list(self.links.all_entries())
        self.desk.recall(self.links.entries(), now_s)
        self.desk.count_from(max(map(last_sequence, entries), default=0))
        self.links.begin(Started(self.starts, self.name, 0, 0.0, now_s))

    def kill(self):
        """As a power cut would: nothing but the journals is left."""
        self.kept.close()
        self.links.close()
        self.broker = None


class Stage:
    """Three regions and applications; ``cut`` holds pairs of regions that hear nothing."""

    def __init__(self, folder, *, loss=0.0, seed=0, most_s=10.0):
        self.now_s = 100.0
        self.terms = Terms(pace="wall", most_s=most_s, grace_s=2.0)
        self.random, self.loss = random.Random(seed), loss
        self.cut: set[frozenset[str]] = set()
        self.flying: list[tuple[float, int, object]] = []
        self.regions = {name: Region(name, folder, self.terms) for name in REGIONS}
        self.folder, self._number = folder, 0
        for region in self.regions.values():
            region.start(self.now_s)
        self.sessions: dict[str, bytes] = {}
        self.wanted: dict[bytes, tuple[str, dict]] = {}
        self.answers: dict[bytes, bytes] = {}

    # Applications.

    def ask(self, source, destination, *, pairs=1, fidelity=0.5, deadline_s=5.0):
        self._number += 1
        rid = self._number.to_bytes(16, "big")
        home = territory().region_of[source]
        wish = {
            "source": source,
            "destination": destination,
            "deadline_s": self.now_s + deadline_s,
            "pairs": pairs,
            "minimum_fidelity": fidelity,
        }
        self.wanted[rid] = (home, wish)
        return rid

    def answer(self, rid):
        frame = self.answers.get(rid)
        return None if frame is None else decode_answer(frame)

    def _speak(self):
        """Ask for what has no answer, again and again."""
        for rid, (home, wish) in self.wanted.items():
            broker = self.regions[home].broker
            if broker is None or rid in self.answers:
                continue
            if home not in self.sessions:
                opened = decode_answer(broker.open(ADA, Open(1), self.now_s))
                assert isinstance(opened, Opened)
                self.sessions[home] = opened.session
            frame = encode_request(Ask(rid, self.sessions[home], **wish))
            broker.hear_client(b"ada-" + home.encode(), frame, self.now_s)

    # The network.

    def _send(self, one, other, act):
        if frozenset((one, other)) in self.cut or self.random.random() < self.loss:
            return
        for _ in range(1 + (self.random.random() < self.loss)):
            late_s = self.random.uniform(0.0, 3.0 * TICK_S)
            self._number += 1
            self.flying.append((self.now_s + late_s, self._number, act))

    def tick(self):
        self.now_s += TICK_S
        if round(self.now_s / TICK_S) % 5 == 0:
            self._speak()
        due = sorted(one[:2] for one in self.flying if one[0] <= self.now_s)
        acts = {one[:2]: one[2] for one in self.flying}
        self.flying = [one for one in self.flying if one[0] > self.now_s]
        for key in due:
            acts[key]()
        for name in self.regions:
            self._turn(name)

    def _turn(self, name):
        region = self.regions[name]
        broker = region.broker
        if broker is None:
            return
        replies = region.desk.turn(self.now_s)
        for _ in range(3):
            for _, frame in replies:
                broker.hear_service(frame, self.now_s)
            entries, out = broker.turn(self.now_s)
            if entries:
                region.kept.append(entries)
            asked = []
            for one in out:
                if one.peer is not None:
                    self._reply(name, one.peer, one.frame)
                elif one.region is not None:
                    self._question(name, one.region, one.frame)
                else:
                    asked.append((b"broker", one.frame))
            replies = self._serve(region, asked)
            if not replies:
                break
        assert broker.holder.is_sound()

    def _serve(self, region, asked):
        opened, rest = [], []
        for peer, frame in asked:
            message = decode_ask(frame)
            if isinstance(message, Open):
                opened.append((peer, region.desk.open(region.owner, message, self.now_s)))
            else:
                rest.append((peer, frame))
        return opened + region.desk.hear(rest, self.now_s)

    def _question(self, name, to, frame):
        def arrive():
            broker = self.regions[to].broker
            if broker is not None:
                broker.hear_asker(b"from-" + name.encode(), name, frame, self.now_s)

        self._send(name, to, arrive)

    def _reply(self, name, peer, frame):
        kind, _, who = peer.decode().partition("-")
        if kind == "ada":
            message = decode_answer(frame)
            if isinstance(message, Again):
                self.sessions.pop(name, None)
            elif isinstance(message, Granted | Denied) and not getattr(message, "retry_s", 0.0):
                assert self.answers.setdefault(message.rid, frame) == frame
            return

        def arrive():
            broker = self.regions[who].broker
            if broker is not None:
                broker.hear_owner(name, frame, self.now_s)

        self._send(name, who, arrive)

    # Faults, and the proof.

    def kill(self, name):
        self.regions[name].kill()
        self.sessions.pop(name, None)

    def start(self, name):
        self.regions[name].start(self.now_s)

    def run(self, seconds):
        for _ in range(round(seconds / TICK_S)):
            self.tick()

    def repeat_all(self):
        """Ask everything again; :meth:`_reply` sees that answers are the same, byte for byte."""
        before, self.answers = self.answers, {}
        self._speak()
        for name in self.regions:
            self._turn(name)
        again, self.answers = self.answers, before
        return {rid: frame for rid, frame in again.items() if before.get(rid) != frame}

    def close(self):
        for region in self.regions.values():
            if region.broker is not None:
                region.kill()

    def proof(self):
        return check_regions({name: journals_of(self.folder, name) for name in self.regions})

"""Outages and old knowledge, against a replica in plain Python."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from controller.hearing import as_heard
from controller.plan import delay_slots, plan_of
from controller.rivals.on_demand import plain
from quantum.changes import NO_CHANGES, make_changes
from quantum.demand import Trace
from quantum.flows import shortest_paths
from quantum.ledger import (
    Ledger,
    World,
    new_ledger,
    new_world,
)
from quantum.ledger import state as codes
from quantum.ledger.places import is_sound
from quantum.ledger.state import tokens_of
from quantum.scenario import Scenario
from quantum.seeding import generator
from quantum.topology import load_topology
from quantum.twin import advance


def line(nodes: int, seed: int, changes: str | None, requests: int = 80) -> Scenario:
    """Return a line with room for everything and requests that any chain can meet."""
    network = replace(
        load_topology(f"line-{nodes}", seed=seed, cutoff_s=0.6),
        qubits=np.full(nodes, 200),
    )
    rng = generator(seed, "test")
    ends = np.array([(a, b) for a in range(nodes) for b in range(a + 1, nodes)])
    time = np.sort(rng.uniform(0.0, 8.0, requests))
    trace = Trace(
        name="any",
        commodities=ends,
        weights=np.full(len(ends), 1.0 / len(ends)),
        load_hz=requests / 8.0,
        time_s=time,
        commodity=rng.integers(len(ends), size=requests),
        pairs=rng.integers(1, 4, size=requests),
        minimum_fidelity=np.full(requests, 0.5),
        deadline_s=rng.uniform(0.1, 1.5, requests),
        told_s=time,
    )
    return Scenario(
        network=network,
        trace=trace,
        seed=seed,
        seconds=8.0,
        warmup_s=0.0,
        test_share=0.0,
        changes=NO_CHANGES
        if changes is None
        else make_changes(changes, network, seed=seed, duration_s=10.0),
    )


@dataclass
class Taken:
    """A pair that is gone, as a decider may not know yet."""

    number: int
    link: int
    birth: int
    slot: int
    by: int
    told: int = -1


@dataclass
class Replica:
    """On-demand play on a line, with lists: link k joins nodes k and k + 1."""

    world: World
    visible: list[int]
    age: list[list[int]]
    row_of: list[int]
    ghosts: bool
    stock: list[list[tuple[int, int]]] = field(default_factory=list)  # (birth, number)
    taken: list[Taken] = field(default_factory=list)
    count: dict[str, int] = field(default_factory=dict)

    def play(self) -> list[int]:
        world, n, m = self.world, self.world.n, self.world.m
        fixed, asked = world.node, world.request
        self.stock = [[] for _ in range(m)]
        self.count = dict.fromkeys(("generated", "failed", "left", "wasted", "dropped"), 0)
        node_up, link_up = [True] * n, [True] * m
        bucket = [float(x) for x in fixed.bucket]
        remaining = asked.pairs.tolist()
        changes = world.change.tolist()
        live: list[int] = []
        order = sorted(range(len(asked)), key=lambda r: (self.visible[r], r))
        for slot in range(world.horizon):
            for _, is_node, index, up in (c for c in changes if c[0] == slot):
                if not is_node:
                    link_up[index] = bool(up)
                elif node_up[index] != bool(up):
                    node_up[index] = bool(up)
                    bucket[index] = float(fixed.bucket[index])
                    for link in (index - 1, index):
                        if 0 <= link < m:
                            # Newest first or oldest first: nobody can tell.
                            for pair in self.stock[link]:
                                self.gone(link, pair[0], slot, -1)
                            self.count["left"] += len(self.stock[link])
                            self.stock[link] = []
            is_open = [link_up[k] and node_up[k] and node_up[k + 1] for k in range(m)]
            for k in range(m):
                kept = [pair for pair in self.stock[k] if pair[0] >= slot - world.cutoff]
                self.count["dropped"] += len(self.stock[k]) - len(kept)
                self.stock[k] = kept
            tokens = [tokens_of(world.seed, v, slot, fixed.generation[v]) for v in range(n)]
            for v in range(n):
                if node_up[v]:
                    bucket[v] = min(bucket[v] + fixed.swap_rate[v], fixed.bucket[v])
                else:
                    self.count["wasted"] += tokens[v]
                    tokens[v] = 0
            live += [r for r in order if self.visible[r] == slot]
            wanted = [0.0] * m
            views = self.viewer(slot)
            for r in live:
                a, b, path = self.ends(r)
                view = views(r)
                passable = all(is_open[k] or len(view[k]) >= remaining[r] for k in path)
                slack = asked.deadline[r] - slot
                joined = all(bucket[v] + fixed.swap_rate[v] * slack >= 1.0 for v in range(a + 1, b))
                if passable or (joined and all(is_open[k] or view[k] for k in path)):
                    for k in path:
                        wanted[k] += remaining[r]
            made: list[int] = []
            for v in range(n):
                here = {k: len(self.stock[k]) for k in (v - 1, v) if 0 <= k < m}
                for _ in range(tokens[v]):
                    missing = [
                        (wanted[k] - here[k], k) for k in here if is_open[k] and wanted[k] > here[k]
                    ]
                    if not missing:
                        self.count["wasted"] += 1
                        continue
                    k = max(missing)[1]
                    here[k] += 1
                    made.append(k)
            for k in made:
                self.count["generated"] += 1
                self.stock[k].append((slot, self.count["generated"]))
            views = self.viewer(slot)
            for r in live:
                a, b, path = self.ends(r)
                view = views(r)
                while remaining[r] and all(view[k] for k in path):
                    if any(bucket[v] < 1.0 for v in range(a + 1, b)):
                        break
                    chain = [min(view[k]) for k in path]
                    false = [pair for pair in reversed(chain) if pair[1]]
                    if false:
                        self.taken[-1 - false[0][2]].told = self.row(r)
                        self.count["failed"] += 1
                        break
                    for k, pair in reversed(list(zip(path, chain, strict=True))):
                        view[k].remove(pair)
                        self.stock[k].remove((pair[0], pair[2]))
                        self.gone(k, pair[0], slot, self.row(r))
                    for v in range(a + 1, b):
                        bucket[v] -= 1.0
                    remaining[r] -= 1
            live = [r for r in live if remaining[r] and slot < asked.deadline[r]]
        return list(remaining)

    def ends(self, request: int) -> tuple[int, int, list[int]]:
        wish = self.world.cls[self.world.request.cls[request]]
        return int(wish.a), int(wish.b), list(range(wish.a, wish.b))

    def row(self, request: int) -> int:
        return self.row_of[self.world.request.cls[request]]

    def gone(self, link: int, birth: int, slot: int, by: int) -> None:
        if self.ghosts:
            self.taken.append(Taken(len(self.taken), link, birth, slot, by))

    def viewer(self, slot: int) -> Callable[[int], list[list[tuple[int, int, int]]]]:
        """Return what deciders believe: (birth, 1 if gone, rank) of every link, kept per row."""
        last: list[Any] = [None, None]

        def view(request: int) -> list[list[tuple[int, int, int]]]:
            row = self.row(request)
            if last[0] == row:
                return last[1]
            age = self.age[row] if self.age else [0] * self.world.m
            seen = [
                [(birth, 0, number) for birth, number in pairs if birth + age[k] <= slot]
                for k, pairs in enumerate(self.stock)
            ]
            for gone in self.taken:
                new = gone.slot + age[gone.link] > slot
                known = row in (gone.by, gone.told)
                heard = slot - self.world.cutoff <= gone.birth <= slot - age[gone.link]
                if new and heard and not known:
                    seen[gone.link].append((gone.birth, 1, -1 - gone.number))
            last[:] = row, seen
            return seen

        return view


def played(scenario: Scenario, world: World, delay: Any) -> Ledger:
    ledger = new_ledger(world, delay_slots=delay, events=0)
    advance(world, ledger, plain(scenario, plan_of(scenario), fill=0), world.horizon)
    assert is_sound(world, ledger)
    return ledger


def agree(scenario: Scenario, *, central: bool, age: Any = None) -> tuple[Replica, Ledger]:
    world = new_world(scenario, paths=shortest_paths)
    delay = delay_slots(scenario, central=central)
    if age is None:
        world = as_heard(world, scenario, central=central)
    else:
        cls = world.cls.copy()
        cls.heard = 0 if central else cls.a
        ghosts = 0 if central else 1024
        world = world._replace(age=age.astype(np.int16), cls=cls, ghosts=ghosts)
    ledger = played(scenario, world, delay)
    replica = Replica(
        world,
        visible=(world.request.told + delay).tolist(),
        age=world.age.tolist(),
        row_of=world.cls.heard.tolist(),
        ghosts=world.ghosts > 0,
    )
    assert replica.play() == ledger.request.left.tolist()
    for name, row in {
        "generated": codes.GENERATED,
        "failed": codes.FAILED,
        "left": codes.LEFT,
        "wasted": codes.WASTED,
        "dropped": codes.DROPPED,
    }.items():
        assert replica.count[name] == ledger.totals[row], name
    return replica, ledger


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("changes", [None, "links:2:1", "nodes:3:1", "outages:1:0.7"])
def test_a_replica_plays_the_same(changes: str | None, seed: int) -> None:
    replica, ledger = agree(line(2 + seed % 4, seed, changes), central=True)
    assert replica.count["generated"] > 0
    assert ledger.totals[codes.FAILED] == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("changes", [None, "outages:2:0.7"])
@pytest.mark.parametrize("central", [True, False])
def test_a_replica_hears_the_same(changes: str | None, central: bool, seed: int) -> None:
    nodes = 3 + seed % 3
    rows = 1 if central else nodes
    age = generator(seed, "age").integers(0, 8, (rows, nodes - 1))
    agree(line(nodes, seed, changes, requests=200), central=central, age=age)


def test_sources_far_apart_fail_at_times() -> None:
    failed = 0
    for seed in range(4):
        age = np.full((4, 3), 6)
        _, ledger = agree(line(4, seed, None, requests=300), central=False, age=age)
        failed += int(ledger.totals[codes.FAILED])
    assert failed > 20

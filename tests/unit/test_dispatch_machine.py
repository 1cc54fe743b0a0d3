"""The broker's state machine as hypothesis drives it: whatever the order, the same decisions."""

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec import structs

from controller.dispatch import Dispatch
from controller.game import prepare
from controller.handed import Handed
from controller.live import live_rules
from controller.mind import Mind
from controller.setting import Setting, scenario_of
from quantum.egp import Done, Failed
from quantum.errors import Code, WireError
from quantum.ledger.places import is_sound

WORKERS, SLOTS = (b"v", b"w"), 90


@cache
def busy():
    """A line of four nodes on which pairs are made and wanted in nearly every slot."""
    node = {"generation_hz": 40.0, "swap_hz": 40.0, "qubits": 16}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.json"
        links = [{"a": a, "b": b, "fidelity": 0.97} for a, b in ("ab", "bc", "cd")]
        network = {"nodes": [{"name": name, **node} for name in "abcd"], "links": links}
        path.write_text(json.dumps(network))
        setting = Setting(
            topology=str(path),
            demand="poisson",
            seconds=2.0,
            warmup_s=0.0,
            load_hz=150.0,
            seed=3,
            learn=False,
        )
        game = prepare(scenario_of(setting))
        return game, live_rules(setting, game)


def playing():
    """Return the game, a dispatcher, and an honest mind for each of two groups."""
    game, rules = busy()
    minds = [
        Mind(game.world, rules.rule, np.array(group), seed=3, learn=False) for group in rules.groups
    ]
    return game, Dispatch(rules, lambda _: None), minds


@cache
def digests():
    """Return what honest agents and prompt workers have decided by the end of each slot."""
    _, dispatch, minds = playing()
    out, programs = [], 0
    for _ in range(SLOTS):
        looks = dispatch.open()
        for group, (mind, look) in enumerate(zip(minds, looks, strict=True)):
            dispatch.hear(group, mind.speak(look))
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
        out.append(dispatch.digest.hexdigest())
        programs += job.programs if job is not None else 0
    assert programs > SLOTS
    return out


class Run(RuleBasedStateMachine):
    """A run in any order: agents speak late and twice, workers answer late, twice and wrongly.

    Whatever the order, decisions are those of a run in which everybody is prompt. Where jobs are
    given up or fail, no pair of theirs is counted, once or ever.
    """

    def __init__(self):
        super().__init__()
        self.game, self.dispatch, self.minds = playing()
        self.handed = Handed(5.0)
        self.now_s, self.slots, self.prompt = 0.0, 0, True
        self.speaks, self.silent = {}, set()
        self.out, self.answered = {}, []
        self.tests = self.lost = 0

    @precondition(lambda self: not self.silent and not self.dispatch.waiting())
    @rule(whole=st.integers(0, 12))
    def slots_go_by(self, whole):
        """Some slots in which agents are prompt, as long as answers allow; then one more begins."""
        for _ in range(whole):
            if self.dispatch.waiting() or self.slots >= SLOTS - 1:
                return
            self.begin()
            for group in (0, 1):
                self.speak(group)
        if not self.dispatch.waiting() and self.slots < SLOTS - 1:
            self.begin()

    def begin(self):
        looks = self.dispatch.open()
        self.speaks = {g: self.minds[g].speak(look) for g, look in enumerate(looks)}
        self.silent = set(self.speaks)

    @precondition(lambda self: self.silent)
    @rule(group=st.sampled_from([0, 1]), stale=st.integers(-2, 2))
    def an_agent_speaks(self, group, stale):
        said = self.speaks[group]
        if stale or group not in self.silent:
            wrong = structs.replace(said, slot=said.slot + stale)
            with pytest.raises(WireError, match="not open"):
                self.dispatch.hear(group, wrong)
        if group in self.silent:
            self.speak(group)

    def speak(self, group):
        self.silent.remove(group)
        assert self.dispatch.hear(group, self.speaks[group]) == (not self.silent)
        if self.silent:
            return
        job = self.dispatch.close()
        self.slots += 1
        if job is not None:
            worker = WORKERS[self.slots % 2]
            self.handed.give(job.job, worker, self.now_s)
            self.out[job.job] = worker, self.dispatch.results.by_closed_form(job.job)
        if self.prompt:
            assert self.dispatch.digest.hexdigest() == digests()[self.slots - 1]

    @precondition(lambda self: self.out)
    @rule(data=st.data(), how=st.sampled_from(["well"] * 4 + ["short", "other", "failed"]))
    def a_worker_answers(self, data, how):
        number = data.draw(st.sampled_from(sorted(self.out)))
        worker, done = self.out[number]
        if how == "other":
            thief = WORKERS[worker == WORKERS[0]]
            with pytest.raises(WireError, match="was not given to this worker"):
                self.handed.expects(done, thief)
        elif how == "short":
            with pytest.raises(WireError, match="do not fit"):
                self.dispatch.settle(Done(number, done.passed[:-1], done.fidelity[:-1]))
        else:
            well = how == "well"
            self.take(worker, done if well else Failed(number, Code.OTHER, "no light"))

    def take(self, worker, answer):
        assert self.handed.expects(answer, worker)
        self.handed.end(answer.job)
        self.settle(answer)
        self.answered.append((worker, answer))

    def settle(self, answer):
        self.dispatch.settle(answer)
        _, done = self.out.pop(answer.job)
        if isinstance(answer, Failed):
            self.prompt = False
            self.lost += len(done.passed)
        else:
            self.tests += sum(outcome >= 0 for outcome in done.passed)

    @rule()
    def all_workers_answer(self):
        for worker, done in list(self.out.values()):
            self.take(worker, done)

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def a_worker_repeats(self, data):
        worker, answer = data.draw(st.sampled_from(self.answered))
        with pytest.raises(WireError, match="is not open"):
            self.dispatch.settle(answer)
        with pytest.raises(WireError, match="was not given"):
            self.handed.expects(answer, worker)

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0, 6.0]))
    def time_goes_on(self, seconds):
        self.now_s += seconds
        for worker, failed in self.handed.late(self.now_s):
            _, done = self.out[failed.job]
            self.settle(failed)
            # What is said of it now counts for nothing, and is no forgery.
            assert not self.handed.expects(done, worker)

    def teardown(self):
        self.all_workers_answer()
        self.dispatch.results.count(self.dispatch.slot)
        results = self.dispatch.results
        assert (results.failed, results.tested) == (self.lost, self.tests)
        assert is_sound(self.game.world, self.dispatch.ledger)


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=25, stateful_step_count=60, deadline=None)

"""What a run has to come to, wherever its processes are: as in one process, and nothing twice."""

import json
from collections import Counter

import numpy as np

from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.policy_file import actor_of
from controller.replaying import replay
from controller.setting import scenario_of
from quantum.ledger.state import DELIVERED, LINK_TESTED
from quantum.record import read

__all__ = ["digest_in_one_process", "nothing_is_lost_or_doubled"]


def digest_in_one_process(setting):
    """Return the digest of the decisions of a run that does not learn."""
    game = prepare(scenario_of(setting), **setting.physics)
    rules = live_rules(setting, game)
    minds = [
        Mind(
            game.world,
            rules.rule,
            np.array(group, dtype=np.int64),
            seed=setting.seed,
            learn=False,
            actor=None if rules.start is None else actor_of(rules.start, len(group)),
        )
        for group in rules.groups
    ]
    dispatch = Dispatch(rules, lambda _: None)
    while not dispatch.finished:
        for group, look in enumerate(dispatch.open()):
            dispatch.hear(group, minds[group].speak(look))
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    return dispatch.digest.hexdigest()


def nothing_is_lost_or_doubled(folder):
    """Prove it from the record: its seal, a replay of every slot, and what was served."""
    record = read(folder)
    assert record.seal.complete
    replay(record)
    summary = json.loads((folder / "summary.json").read_bytes())
    served = Counter()
    once = Counter()
    for event in record.events:
        if event["event"] == "slot":
            for kind, request, attempt, *_ in event["served"]:
                # A test of a link names a node instead, which tests again and again.
                once[request, attempt] += kind != LINK_TESTED
                served[request] += kind == DELIVERED
    assert max(once.values()) == 1, "an allocation was carried out twice"
    assert sum(served.values()) >= summary["pairs_delivered"] > 0
    return summary

"""The summary of a run, with the keys that people script against (DESIGN section 7)."""

from typing import Any

import msgspec

from controller.dispatch import Dispatch
from controller.game import Game, Result, mean_fidelity
from controller.losses import contention_loss, pairs_alone
from controller.setting import Setting
from quantum.twin import score

__all__ = ["rival_rows", "summarise"]


def rival_rows(result: Result) -> dict[str, Any]:
    """Return what the summary shows of a rival."""
    return {
        "delivery_rate": result.score.delivery_rate,
        "fraction_of_bound": result.fraction_of_bound,
        "contention": result.score.contention,
        "contention_loss": result.contention_loss,
        "fidelity": result.fidelity,
        "fidelity_true": result.fidelity,
        "latency_ms": {
            "p50": result.score.latency_p50_ms,
            "p99": result.score.latency_p99_ms,
        },
    }


def summarise(setting: Setting, game: Game, dispatch: Dispatch, *, wall_s: float) -> dict[str, Any]:
    """Return the summary of a run that was played, wholly or in part."""
    rules, world, ledger = dispatch.rules, game.world, dispatch.ledger
    if not dispatch.finished:
        # What was to come was neither asked nor missed.
        world = world._replace(slots=max(0, dispatch.slot - world.warmup))
    done = score(world, ledger)
    results, pools = dispatch.results, dispatch.results.pools
    tests = pools.overall()
    rounds, scheme = dispatch.rounds, dispatch.rounds.scheme
    spent = scheme.epsilon(rounds.done)
    # Of a run that was broken off nobody knows the bound; what instruments lose is no contention.
    bound = game.bound if dispatch.finished else None
    fraction = None
    if bound is not None:
        fraction = done.pairs_delivered / bound if bound > 0.0 else 0.0
    loss: float | None = None
    if not results.failed:
        loss = contention_loss(
            world, ledger, lambda missed: pairs_alone(world, rules.rule, missed, rules.delay_slots)
        )
    return {
        "allocator": setting.allocator,
        "backend": setting.backend,
        "topology": game.scenario.network.name,
        "demand": game.scenario.trace.name,
        "nodes": world.n,
        "links": world.m,
        "seed": setting.seed,
        "seconds": setting.seconds,
        "wire": "curve",
        "slots": min(world.slots, max(0, dispatch.slot - world.warmup)),
        "requests": done.requests,
        "pairs_requested": done.pairs_requested,
        "pairs_delivered": done.pairs_delivered,
        "delivery_rate": done.delivery_rate,
        "bound": bound,
        "fraction_of_bound": fraction,
        "contention": done.contention,
        "contention_loss": loss,
        "pairs_executed": results.executed,
        "pairs_tested": results.tested,
        "pairs_failed": results.failed,
        "pairs_per_second": results.executed / wall_s if wall_s > 0.0 else 0.0,
        "fidelity": msgspec.to_builtins(tests),
        "fidelity_true": None if setting.rack else mean_fidelity(world, ledger),
        "fidelity_links": msgspec.to_builtins(pools.overall_links()),
        "fidelity_predicted": (pools.predicted / tests.shots if tests.shots else None),
        "latency_ms": {"p50": done.latency_p50_ms, "p99": done.latency_p99_ms},
        "decision_digest": dispatch.digest.hexdigest(),
        "updates": rounds.updates,
        "federated_rounds": rounds.done,
        "privacy": scheme.federation.privacy,
        "aggregator": scheme.federation.aggregator,
        "epsilon": spent,
        "delta": None if spent is None else scheme.delta,
        "updates_dropped": rounds.dropped,
        "updates_late": rounds.late,
        "updates_missing": rounds.missing,
        "reward": results.reward,
        "wall_s": round(wall_s, 3),
    }

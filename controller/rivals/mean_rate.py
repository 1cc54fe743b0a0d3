"""Mean rate, tuned: stock targets from the long-run mean demand. The rival to beat.

No forecast and no learning: the mean demand flows through the network as in the bound at 1.5 times
the knee, and every link keeps in stock what a second of it uses. Weights of scores and prices are
the defaults of :class:`~quantum.ledger.Rule`; each of them paid on its own in the measurements that
tuned this rival.
"""

from controller.plan import Plan
from controller.rivals.allocator import Allocator
from quantum.ledger import Rule
from quantum.scenario import Scenario

__all__ = ["allocator"]


def _rule(scenario: Scenario, plan: Plan) -> Rule:
    return Rule(
        fill=2, complete=1, targets=plan.mean_targets, rounds=plan.rounds, refined=plan.refined
    )


allocator = Allocator(
    name="mean-rate",
    central=True,
    sentence="Central, keeps stock for a second of mean demand; tuned prices and eviction.",
    rule=_rule,
)

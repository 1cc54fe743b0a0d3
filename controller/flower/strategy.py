"""The strategy of the server: asks every site for the changes of its nodes, and averages them.

A round is over when every site has answered. A SuperNode that came back since it was asked is asked
again, because Flower delivers a message once: if it is killed at work, the message is gone. Asking
twice does no harm, since a site gives the same answer to the same question.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from controller.flower.plan import Plan
from controller.flower.rounds import average_of, check_rows, privacy_of
from quantum.errors import EngineError, InputError
from quantum.ledger.state import Floats

__all__ = ["SitesStrategy", "changes_in", "reply_with", "task_in"]

#: Seconds between two looks for answers; until a silent site is asked again; until a round is
#: given up.
_LOOK_S, _AGAIN_S, _PATIENCE_S = 1.0, 900.0, 7200.0
#: A site may fail so often in one round.
_FAILURES = 3


class SitesStrategy(Strategy):
    """Rounds among the sites of a plan; ``nodes`` is the number of nodes of its network."""

    def __init__(
        self,
        plan: Plan,
        nodes: int,
        *,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._plan, self._nodes = plan, nodes
        self._told = told
        self.average = average_of(plan, nodes)
        self._site_of: dict[int, int] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Make a question for every site; waits until as many SuperNodes are there."""
        self._wait_for_sites(grid)
        return [self._question(server_round, node) for node in self._site_of]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the changes of all sites; EngineError where one is missing."""
        rows: dict[int, Floats] = {}
        for reply in replies:
            site, changes = self._answer(reply, server_round - 1)
            rows[site] = changes
        missing = sorted(set(range(self._plan.sites)) - set(rows))
        if missing:
            raise EngineError(f"round {server_round}: no answer from site {missing[0]}")
        every = np.concatenate([rows[site] for site in range(self._plan.sites)])
        closed = self.average.close(np.arange(len(every)), every)
        norm = float(np.linalg.norm(self.average.current))
        metrics = {"norm": norm, "dropped": closed.dropped, "clip_norm": closed.clip_norm}
        cost = privacy_of(self.average)["epsilon"]
        if cost is not None:
            metrics["epsilon"] = cost
        return ArrayRecord([self.average.current]), MetricRecord(metrics)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask nothing: policies are judged in paired runs, not by their sites."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return nothing, see :meth:`configure_evaluate`."""
        return None

    def summary(self) -> None:
        """Say what is going to happen."""
        self._told(f"{self._plan.rounds} rounds among {self._plan.sites} sites")

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *_: Any, **__: Any) -> Result:
        """Play all rounds of the plan, asking silent sites again."""
        self.summary()
        result, arrays = Result(), initial_arrays
        for number in range(self.average.done + 1, self._plan.rounds + 1):
            questions = self.configure_train(number, arrays, ConfigRecord(), grid)
            found, metrics = self.aggregate_train(number, self._asked(grid, questions, number))
            assert found is not None
            assert metrics is not None
            result.arrays = arrays = found
            result.train_metrics_clientapp[number] = metrics
            self._told(f"round {number} of {self._plan.rounds}")
        return result

    def _wait_for_sites(self, grid: Grid) -> None:
        """Remember as many SuperNodes as there are sites; later ones are not asked."""
        until = time.monotonic() + _PATIENCE_S
        while len(self._site_of) < self._plan.sites:
            for node in sorted(grid.get_node_ids()):
                if len(self._site_of) < self._plan.sites:
                    self._site_of.setdefault(node, -1)
            if time.monotonic() > until:
                raise EngineError(
                    f"only {len(self._site_of)} of {self._plan.sites} sites came within "
                    f"{_PATIENCE_S:g} s"
                )
            if len(self._site_of) < self._plan.sites:
                time.sleep(_LOOK_S)

    def _question(self, server_round: int, node: int) -> Message:
        content = RecordDict(
            {
                "weights": ArrayRecord([self.average.current]),
                "round": ConfigRecord({"index": server_round - 1}),
            }
        )
        return Message(content, dst_node_id=node, message_type=MessageType.TRAIN)

    def _asked(self, grid: Grid, questions: Iterable[Message], number: int) -> list[Message]:
        """Send questions until there is a good answer to each."""
        begun, found = time.monotonic(), dict[int, Message]()
        asked = {node: _Asked() for node in self._site_of}
        open_ids: dict[str, int] = {}

        def send(messages: Sequence[Message]) -> None:
            if not messages:
                return
            since = _activated(grid)
            for message, name in zip(messages, grid.push_messages(messages), strict=True):
                node = message.metadata.dst_node_id
                asked[node].sent(since.get(node, ""), time.monotonic())
                if name:
                    open_ids[name] = node

        send(list(questions))
        while len(found) < len(self._site_of):
            time.sleep(_LOOK_S)
            for reply in grid.pull_messages(list(open_ids)) if open_ids else ():
                node = open_ids.pop(reply.metadata.reply_to_message_id, None)
                if node is None or node in found:
                    continue
                if not reply.has_error():
                    found[node] = reply
                    continue
                if asked[node].failed() > _FAILURES:
                    self._give_up(node, number, str(reply.error.reason))
            now, since = time.monotonic(), _activated(grid)
            left = [node for node in self._site_of if node not in found]
            if left and now - begun > _PATIENCE_S:
                self._give_up(left[0], number, f"silent for {_PATIENCE_S:g} s")
            lost = [node for node in left if asked[node].lost(since.get(node), now, _AGAIN_S)]
            for node in lost:
                self._told(f"round {number}: {self._name(node)} is asked again")
            send([self._question(number, node) for node in lost])
        return [found[node] for node in self._site_of]

    def _answer(self, reply: Message, round_index: int) -> tuple[int, Floats]:
        """Read the changes of a site; InputError for what no honest site sends."""
        node = reply.metadata.src_node_id
        site, number, rows = changes_in(reply)
        if number != round_index:
            raise InputError(f"site {site} answers for round {number}, not {round_index}")
        wanted = len(self._plan.nodes_of(site, self._nodes))
        if self._site_of.get(node, -1) not in (-1, site) or any(
            other != node and known == site for other, known in self._site_of.items()
        ):
            raise InputError(f"SuperNode {node} says that it is site {site}, which another is")
        check_rows(rows, wanted, self.average.current.size)
        self._site_of[node] = site
        return site, rows

    def _name(self, node: int) -> str:
        site = self._site_of[node]
        return f"SuperNode {node}" if site < 0 else f"site {site}"

    def _give_up(self, node: int, number: int, why: str) -> NoReturn:
        said = " ".join(why.split())[:200]
        raise EngineError(f"round {number}: {self._name(node)} gives no answer: {said}")


class _Asked:
    """What is known of a site that has been asked in a round."""

    def __init__(self) -> None:
        self._since, self._sent_s = "", 0.0
        self._failures, self._must = 0, False

    def sent(self, since: str, now_s: float) -> None:
        """Note that a question went out to a SuperNode that has been there ``since``."""
        self._since, self._sent_s, self._must = since, now_s, False

    def failed(self) -> int:
        """Note an answer that says that something went wrong; return how many there were."""
        self._failures += 1
        self._must = True
        return self._failures

    def lost(self, since: str | None, now_s: float, again_s: float) -> bool:
        """Tell whether to ask again: it failed, came back since, or has been silent for long."""
        if since is None:
            return False  # it is not there to be asked
        came_back = since != self._since
        return self._must or came_back or now_s - self._sent_s > again_s


def _activated(grid: Grid) -> dict[int, str]:
    """Return since when each SuperNode that is there has been there."""
    return {node.node_id: node.last_activated_at for node in grid.get_nodes()}


def task_in(message: Message) -> tuple[int, Floats]:
    """Return the number of the round and the weights that a site is asked about."""
    weights = message.content["weights"].to_numpy_ndarrays()[0]
    return int(message.content["round"]["index"]), np.asarray(weights, dtype=np.float64)


def reply_with(message: Message, site: int, round_index: int, rows: Floats) -> Message:
    """Make the answer of a site."""
    content = RecordDict(
        {
            "changes": ArrayRecord([rows]),
            "of": MetricRecord({"site": site, "round": round_index}),
        }
    )
    return Message(content, reply_to=message)


def changes_in(reply: Message) -> tuple[int, int, Floats]:
    """Return site, round and changes of an answer; InputError where it has none."""
    try:
        about, arrays = reply.content["of"], reply.content["changes"].to_numpy_ndarrays()
        site, number, rows = int(about["site"]), int(about["round"]), arrays[0]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as wrong:
        raise InputError(f"an answer is no answer of a site: {wrong}") from wrong
    return site, number, rows

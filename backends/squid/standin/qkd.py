"""Quantum key distribution (BBM92: entangled pairs, two bases) as a routine."""

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from netqasm.sdk.classical_communication.message import StructuredMessage

from backends.squid.errors import SquidError

__all__ = ["QKDRoutine"]

Waiting = Generator[Any, Any, Any]


@dataclass
class PairInfo:
    """What this node knows of a pair; filled in step by step."""

    index: int
    #: 0: Z, 1: X.
    basis: int
    outcome: int
    same_basis: bool | None = None
    test_outcome: bool | None = None
    same_outcome: bool | None = None


class QKDRoutine:
    """Both ends of the protocol. A subclass may replace a step.

    Bases and tests are drawn by Python's ``random``, as in SquidASM.
    """

    @classmethod
    def run(
        cls,
        context: Any,
        peer_name: str,
        is_init: bool,
        num_epr: int,
        num_test_bits: int | None = None,
    ) -> Waiting:
        """Return the raw key (a bitarray) and the error rate that the tests show.

        One end has ``is_init``, the other not. Of ``num_epr`` pairs about half are measured in the
        same basis; ``num_test_bits`` of these (a quarter of all unless given) are compared.
        """
        tests = num_epr // 4 if num_test_bits is None else num_test_bits
        socket = context.csockets[peer_name]
        pairs = yield from cls._distribute_states(context, is_init, peer_name, num_epr)
        pairs = yield from cls._filter_bases(socket, pairs, is_init)
        pairs, error_rate = yield from cls._estimate_error_rate(socket, pairs, tests, is_init)
        key = [pair.outcome for pair in pairs if pair.same_basis and not pair.test_outcome]
        return _bits(key), error_rate

    @staticmethod
    def _distribute_states(context: Any, is_init: bool, peer_name: str, num_epr: int) -> Waiting:
        """Make pairs and measure each at once, in a basis of its own."""
        socket = context.epr_sockets[peer_name]
        pairs = []
        for index in range(num_epr):
            basis = random.randint(0, 1)
            (qubit,) = socket.create_keep(1) if is_init else socket.recv_keep(1)
            if basis == 1:
                qubit.H()
            outcome = qubit.measure()
            yield from context.connection.flush()
            pairs.append(PairInfo(index, basis, int(outcome)))
        return pairs

    @staticmethod
    def _filter_bases(socket: Any, pairs_info: list[PairInfo], is_init: bool) -> Waiting:
        """Tell each other the bases."""
        mine = [(pair.index, pair.basis) for pair in pairs_info]
        if is_init:
            socket.send_structured(StructuredMessage("Bases", mine))
        theirs = dict((yield from socket.recv_structured()).payload)
        if not is_init:
            socket.send_structured(StructuredMessage("Bases", mine))
        for pair in pairs_info:
            pair.same_basis = theirs[pair.index] == pair.basis
        return pairs_info

    @staticmethod
    def _estimate_error_rate(
        socket: Any, pairs_info: list[PairInfo], num_test_bits: int, is_init: bool
    ) -> Waiting:
        """Compare outcomes of some pairs; return the pairs and the share that differs."""
        if is_init:
            same = [pair.index for pair in pairs_info if pair.same_basis]
            chosen = random.sample(same, min(num_test_bits, len(same)))
            socket.send_structured(StructuredMessage("Test indices", chosen))
        else:
            chosen = (yield from socket.recv_structured()).payload
        tested = set(chosen)
        for pair in pairs_info:
            pair.test_outcome = pair.index in tested
        mine = [(index, pairs_info[index].outcome) for index in chosen]
        # Who began waits for the outcomes of the peer before telling its own.
        if not is_init:
            socket.send_structured(StructuredMessage("Test outcomes", mine))
        theirs = (yield from socket.recv_structured()).payload
        if is_init:
            socket.send_structured(StructuredMessage("Test outcomes", mine))
        for index, outcome in theirs:
            pairs_info[index].same_outcome = pairs_info[index].outcome == outcome
        errors = sum(not pairs_info[index].same_outcome for index in chosen)
        return pairs_info, errors / num_test_bits if num_test_bits else 0.0


def _bits(key: list[int]) -> Any:
    try:
        from bitarray import bitarray
    except ModuleNotFoundError:
        raise SquidError("QKDRoutine makes keys of type bitarray: pip install bitarray") from None
    return bitarray(key)

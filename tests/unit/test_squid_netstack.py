"""Pairs: when they come, what is written about them, sequences and repeated tries."""

import math

import numpy as np
import pytest
from netqasm.qlink_compat import TimeUnit
from squid_plays import EXACT, NV, keeping, network, play

from backends.squid.errors import LimitError, SquidError
from backends.squid.run import Simulation
from backends.squid.setting import Classical, Depolarise, Network, Perfect


@pytest.mark.parametrize(
    ("delay", "pair", "requests", "number"),
    [(10.0, 15.0, 4, 1), (24.0, 77.0, 2, 3), (0.0, 2020.0, 5, 1), (7.0, 0.0, 1, 2)],
)
def test_a_request_takes_two_messages_and_its_pairs(delay, pair, requests, number):
    simulation = Simulation()
    net = network(link=Perfect(state_delay_ns=pair), delay=delay)
    (alice,), (bob,) = play(
        {
            "Alice": keeping([("Bob", "create", number)] * requests, simulation),
            "Bob": keeping([("Alice", "recv", number)] * requests, simulation),
        },
        net,
        simulation=simulation,
    )
    assert alice[0] == bob[0] == pytest.approx((2.0 * delay + pair * number) * requests, abs=1e-9)
    assert alice[1] == bob[1] and len(alice[1]) == requests * number


def test_three_nodes_answer_their_requests_in_order():
    """Alice-Bob, then Bob-Charlie, then Charlie-Alice: Bob is done after two rounds."""
    simulation, times = Simulation(), 3
    net = network("Alice Bob Charlie", Perfect(state_delay_ns=10.0), 66.0)

    def both(first, second):
        return keeping([first] * times + [second] * times, simulation)

    (alice,), (bob,), (charlie,) = play(
        {
            "Alice": both(("Bob", "create", 1), ("Charlie", "recv", 1)),
            "Bob": both(("Alice", "recv", 1), ("Charlie", "create", 1)),
            "Charlie": both(("Bob", "recv", 1), ("Alice", "create", 1)),
        },
        net,
        simulation=simulation,
    )
    round_ns = times * (2.0 * 66.0 + 10.0)
    assert alice[0] == charlie[0] == pytest.approx(3.0 * round_ns)
    assert bob[0] == pytest.approx(2.0 * round_ns)
    assert alice[1][:times] == bob[1][:times]
    assert bob[1][times:] == charlie[1][:times]
    assert charlie[1][times:] == alice[1][times:]


@pytest.mark.parametrize("late", [30.0, 500.0])
def test_a_late_receiver_is_waited_for(late):
    """The message of who creates takes 50 ns; when it came and Bob is ready, one goes back."""
    simulation = Simulation()
    complete = network("Alice Bob Waker", Perfect(state_delay_ns=45.0))
    net = Network(
        complete.nodes,
        complete.links,
        (Classical("Alice", "Bob", 50.0), Classical("Bob", "Waker", late)),
    )

    def alice(context):
        context.epr_sockets["Bob"].create_keep()
        yield from context.connection.flush()
        return simulation.now_ns

    def bob(context):
        yield from context.csockets["Waker"].recv()
        context.epr_sockets["Alice"].recv_keep()
        yield from context.connection.flush()
        return simulation.now_ns

    def waker(context):
        context.csockets["Bob"].send("")
        yield from ()

    results = play({"Alice": alice, "Bob": bob, "Waker": waker}, net, simulation=simulation)
    assert results[0] == results[1] == pytest.approx([max(50.0, late) + 50.0 + 45.0])


def test_depolarised_pairs_take_a_geometric_number_of_cycles():
    simulation, runs = Simulation(), 400
    net = network(link=Depolarise(fidelity=1.0, prob_success=0.25, t_cycle_ns=100.0))
    alice, _ = play(
        {
            "Alice": keeping([("Bob", "create", 1)], simulation),
            "Bob": keeping([("Alice", "recv", 1)], simulation),
        },
        net,
        runs,
        simulation=simulation,
    )
    cycles = np.array([took for took, _ in alice]) / 100.0
    np.testing.assert_allclose(cycles, np.round(cycles), atol=1e-6)
    assert abs(cycles.mean() - 4.0) < 5.0 * math.sqrt(0.75 / 0.0625 / runs)


def test_results_say_what_netqasm_expects():
    simulation = Simulation()
    net = network("Zoe Alice Bob", Perfect(state_delay_ns=12_345.0), 100.0)

    def alice(context):
        qubits, infos = context.epr_sockets["Bob"].create_keep_with_info(number=2)
        yield from context.connection.flush()
        return [
            (int(info.qubit_id), int(info.remote_node_id), int(info.generation_duration),
             info.bell_state.name, qubit.remote_entangled_node)
            for qubit, info in zip(qubits, infos, strict=True)
        ]  # fmt: skip

    def bob(context):
        qubit, _ = context.epr_sockets["Alice"].recv_keep(number=2)
        yield from context.connection.flush()
        return [int(entry) for entry in qubit.entanglement_info]

    _, (told,), (entries,) = play({"Alice": alice, "Bob": bob}, net, simulation=simulation)
    assert told == [(0, 2, 12, "PHI_PLUS", "Bob"), (1, 2, 24, "PHI_PLUS", "Bob")]
    # K, request 1, qubit 0, received, pair 0, socket 1, from node 1, 12 us, at 12 us, phi_plus.
    assert entries == [0, 1, 0, 1, 0, 1, 1, 12, 12, 0]


@pytest.mark.parametrize("device", [EXACT, NV])
def test_sequential_pairs_wait_for_their_qubit(device):
    """Ten pairs through one virtual qubit: the next is made when the last was measured."""
    simulation = Simulation()

    def body(verb, peer):
        def steps(context):
            outcomes = context.connection.new_array(10)

            def consume(_, qubit, pair):
                qubit.H()
                qubit.measure(outcomes.get_future_index(pair))

            getattr(context.epr_sockets[peer], f"{verb}_keep")(
                number=10, sequential=True, post_routine=consume
            )
            yield from context.connection.flush()
            return list(outcomes)

        return steps

    (alice,), (bob,) = play(
        {"Alice": body("create", "Bob"), "Bob": body("recv", "Alice")},
        network(device=device),
        simulation=simulation,
    )
    assert alice == bob and len(alice) == 10
    if device is NV:
        # Each round also has a Hadamard (two electron rotations) and a measurement.
        assert simulation.now_ns >= 10 * (1000.0 + NV.measure_ns)


def test_several_pairs_of_an_nv_centre_move_to_its_carbons():
    (alice,), (bob,) = play(
        {
            "Alice": keeping([("Bob", "create", 3)], Simulation()),
            "Bob": keeping([("Alice", "recv", 3)], Simulation()),
        },
        network(device=NV),
    )
    assert alice[1] == bob[1]


def retrying(verb, peer, fidelity, tries, simulation):
    def body(context):
        start = simulation.now_ns
        qubits = getattr(context.epr_sockets[peer], f"{verb}_keep")(
            number=2, min_fidelity_all_at_end=fidelity, max_tries=tries
        )
        outcomes = [qubit.measure() for qubit in qubits]
        yield from context.connection.flush()
        return [int(outcome) for outcome in outcomes], simulation.now_ns - start

    return body


def test_requests_are_repeated_until_both_pairs_came_soon_enough():
    """80 % means less than 28,000 us: both pairs in their first cycle of 10 ms, chance 1/4."""
    simulation, runs = Simulation(), 300
    slow = Depolarise(fidelity=1.0, prob_success=0.5, t_cycle_ns=10_000_000.0)
    alice, bob = play(
        {
            "Alice": retrying("create", "Bob", 80, 100, simulation),
            "Bob": retrying("recv", "Alice", 80, 100, simulation),
        },
        network(link=slow),
        runs,
        simulation=simulation,
    )
    assert [outcomes for outcomes, _ in alice] == [outcomes for outcomes, _ in bob]
    cycles = np.round([took / 1e7 for _, took in alice])
    # A try that fails takes three cycles or more, the one that succeeds two.
    assert set(cycles) >= {2.0, 5.0, 6.0} and not set(cycles) & {0.0, 1.0, 3.0, 4.0}
    assert abs((cycles == 2.0).mean() - 0.25) < 5.0 * math.sqrt(0.1875 / runs)


def test_a_request_that_never_is_soon_enough_says_so():
    slow = Perfect(state_delay_ns=30_000_000.0)
    with pytest.raises(SquidError, match=r"virtual qubit 0 was freed") as caught:
        play(
            {
                "Alice": retrying("create", "Bob", 80, 3, Simulation()),
                "Bob": retrying("recv", "Alice", 80, 3, Simulation()),
            },
            network(link=slow),
        )
    assert any("min_fidelity_all_at_end" in note for note in caught.value.__notes__)


def test_a_time_limit_is_kept_or_told():
    def body(limit):
        def steps(context):
            context.epr_sockets["Bob"].create_keep(max_time=limit, time_unit=TimeUnit.MILLI_SECONDS)
            yield from context.connection.flush()
            return "came"

        return steps

    bob = keeping([("Alice", "recv", 1)], Simulation())
    net = network(link=Perfect(state_delay_ns=2.5e6))
    (told,), _ = play({"Alice": body(3), "Bob": bob}, net)
    assert told == "came"
    with pytest.raises(LimitError, match=r"Alice creates 1 pair .*max_time of 2e\+06 ns"):
        play({"Alice": body(2), "Bob": bob}, net)

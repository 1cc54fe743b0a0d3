"""Requests that nobody can answer: the error names both ends."""

import pytest
from netqasm.lang.parsing.text import parse_text_protosubroutine
from netqasm.sdk import Qubit
from squid_plays import keeping, measuring, network, play

from backends.squid.errors import DeadlockError, SquidError
from backends.squid.run import Simulation
from backends.squid.setting import Generic, Network


def test_unequal_numbers_name_both_ends():
    with pytest.raises(SquidError, match=r"different numbers of pairs: Alice creates 2 pairs to "
                       r"keep with Bob \(socket 0\), Bob receives 3 pairs .*socket 0"):  # fmt: skip
        play(
            {
                "Alice": keeping([("Bob", "create", 2)], Simulation()),
                "Bob": keeping([("Alice", "recv", 3)], Simulation()),
            }
        )


def test_one_keeps_and_one_measures():
    keep, receive = keeping([("Bob", "create", 1)], Simulation()), measuring("recv")
    with pytest.raises(SquidError, match=r"one end keeps its qubits.*Alice creates.*Bob receives"):
        play({"Alice": keep, "Bob": receive})
    with pytest.raises(SquidError, match=r"one end keeps its qubits.*Alice creates.*Bob receives"):
        play({"Alice": measuring("create"), "Bob": keeping([("Alice", "recv", 1)], Simulation())})


@pytest.mark.parametrize("verb", ["create", "recv"])
def test_both_ends_do_the_same(verb):
    with pytest.raises(SquidError, match=r"both nodes (create|receive).*Alice .*Bob"):
        play(
            {
                "Alice": keeping([("Bob", verb, 1)], Simulation()),
                "Bob": keeping([("Alice", verb, 1)], Simulation()),
            }
        )


def test_nobody_runs_at_the_other_end():
    with pytest.raises(SquidError, match=r"play on Alice, instruction \d+ .*create_epr.*"
                       r"nobody answers at Bob: it runs no program"):  # fmt: skip
        play({"Alice": keeping([("Bob", "create", 1)], Simulation())})


def test_the_other_end_never_asks():
    def bob(context):
        yield from context.connection.flush()

    with pytest.raises(SquidError, match=r"Alice creates 1 pair to keep with Bob \(socket 0\), but"
                       r" nobody answers at Bob: its program ended at 0 ns"):  # fmt: skip
        play({"Alice": keeping([("Bob", "create", 1)], Simulation()), "Bob": bob})


def test_the_other_end_does_something_else_first():
    def bob(context):
        qubit = Qubit(context.connection)
        qubit.H()
        yield from context.connection.flush()

    with pytest.raises(DeadlockError, match=r"play on Alice \(squid_plays.py:\d+\) waits"
                       r" for .*Alice creates 1 pair to keep with Bob \(socket 0\); "
                       r"Bob: its program ended at 11000 ns"):  # fmt: skip
        play(
            {"Alice": keeping([("Bob", "create", 1)], Simulation()), "Bob": bob},
            network(device=Generic()),
        )


def test_three_nodes_that_wait_in_a_circle_are_told():
    net = network("Alice Bob Charlie")
    with pytest.raises(DeadlockError) as caught:
        play(
            {
                "Alice": keeping([("Bob", "create", 1), ("Charlie", "recv", 1)], Simulation()),
                "Bob": keeping([("Charlie", "create", 1), ("Alice", "recv", 1)], Simulation()),
                "Charlie": keeping([("Alice", "create", 1), ("Bob", "recv", 1)], Simulation()),
            },
            net,
        )
    for told in (
        "Alice creates 1 pair to keep with Bob (socket 0); Bob: Bob creates 1 pair",
        "Bob creates 1 pair to keep with Charlie (socket 1); Charlie: Charlie creates",
        "Charlie creates 1 pair to keep with Alice (socket 0); Alice: Alice creates",
    ):
        assert told in str(caught.value)


def test_a_request_that_finds_no_position_is_told():
    """Two qubits of their own fill Alice's device, so her half has nowhere to go."""

    def alice(context):
        for _ in range(2):
            Qubit(context.connection)
        yield from context.connection.flush()
        context.epr_sockets["Bob"].create_keep()
        yield from context.connection.flush()

    small = Generic(qubits=2)
    with pytest.raises(DeadlockError, match=r"a free position of Alice that talks to the network"):
        play(
            {"Alice": alice, "Bob": keeping([("Alice", "recv", 1)], Simulation())},
            network(device=small),
        )


def without(net, *, links=True, classical=True):
    return Network(net.nodes, net.links if links else (), net.classical if classical else ())


def test_a_missing_quantum_link_is_told():
    bodies = {
        "Alice": keeping([("Bob", "create", 1)], Simulation()),
        "Bob": keeping([("Alice", "recv", 1)], Simulation()),
    }
    with pytest.raises(SquidError, match=r"no quantum link between Alice and Bob"):
        play(bodies, without(network(), links=False))
    with pytest.raises(SquidError, match=r"no classical connection between Alice and Bob"):
        play(bodies, without(network(), classical=False))


TEXT = """
# NETQASM 1.0
# APPID 0
array 10 @0
array 1 @1
array 20 @2
store 0 @1[0]
store 0 @2[0]
store 1 @2[1]
{request}
wait_all @0[0:10]
load Q0 @1[0]
meas Q0 M0
qfree Q0
"""


def texts(request):
    proto = parse_text_protosubroutine(TEXT.format(request=request))

    def body(context):
        yield from context.connection.commit_protosubroutine(proto)
        return context.connection.shared_memory.get_register("M0")

    return body


def test_short_arrays_of_older_texts_are_read():
    (alice,), (bob,) = play(
        {"Alice": texts("create_epr(1,0) 1 2 0"), "Bob": texts("recv_epr(0,0) 1 0")}
    )
    assert alice == bob


@pytest.mark.parametrize(
    ("request_text", "told"),
    [
        (
            "create_epr(1,5) 1 2 0",
            r"EPR socket 5 from Alice to Bob is not open; open are: 0 to Bob",
        ),
        ("create_epr(7,0) 1 2 0", r"node 7 is no peer of Alice: 1 is Bob"),
        ("create_epr(0,0) 1 2 0", r"node 0 is no peer of Alice"),
        ("create_epr(1,0) 1 1 0", r"must be for 1 pair or more, got None"),
        ("create_epr(1,0) 1 9 0", r"no array @9"),
        ("create_epr(1,0) 1 2 1", r"1 pairs of 10 results, its array @1 has 1 entries"),
    ],
)
def test_wrong_sockets_and_arrays_are_told(request_text, told):
    with pytest.raises(SquidError, match=rf"play on Alice, instruction \d+.*{told}"):
        play({"Alice": texts(request_text), "Bob": texts("recv_epr(0,0) 1 0")})

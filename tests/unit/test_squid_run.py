"""Runs of programs: iterations, seeds, and errors that name who and where."""

import math
import pickle

import pytest
from netqasm.lang.parsing.text import parse_text_subroutine
from netqasm.sdk import Qubit
from squid_plays import EXACT, Play, network, play

from backends.squid.engines.branches import branches, probabilities
from backends.squid.errors import DeadlockError, LimitError, SquidError
from backends.squid.program import Program, ProgramMeta
from backends.squid.run import Simulation, run_network
from backends.squid.setting import Classical, Depolarise, Generic, Network, Node, Nv
from quantum.errors import InputError

# Runs


def test_iterations_run_back_to_back_and_nodes_do_not_wait_for_each_other():
    simulation = Simulation()
    busy = Generic(init_ns=100.0, measure_ns=50.0, t1_ns=0.0, t2_ns=0.0)

    def body(context):
        qubit = Qubit(context.connection)
        qubit.measure()
        yield from context.connection.flush()
        return context.app_id, simulation.now_ns

    def plain(context):
        return {"app": context.app_id}

    net = Network((Node("Slow", busy), Node("Plain", EXACT), Node("None", EXACT)), (), ())
    slow, others, nobody = play({"Plain": plain, "Slow": body}, net, 3, simulation=simulation)
    assert slow == [(0, 150.0), (1, 300.0), (2, 450.0)]
    assert others == [{"app": 0}, {"app": 1}, {"app": 2}] and nobody == []
    assert simulation.now_ns == 450.0


def test_qubits_of_a_run_are_gone_in_the_next():
    simulation = Simulation()

    def body(context):
        qubits = [Qubit(context.connection) for _ in range(2)]
        qubits[0].H()
        qubits[0].cnot(qubits[1])
        yield from context.connection.flush()
        return simulation.hosts["Alice"].context.memory.filled()

    runs = play({"Alice": body}, Network((Node("Alice", Generic()),), (), ()), 5,
                simulation=simulation)[0]  # fmt: skip
    assert runs == [(0, 1)] * 5
    assert simulation.hosts["Alice"].context.memory.filled() == ()


def test_messages_arrive_in_order_after_their_delay():
    simulation = Simulation()
    net = network(delay=30.0)

    def alice(context):
        socket = context.csockets["Bob"]
        for value in range(3):
            socket.send_int(value)
        socket.send_float(0.1 + 0.2)
        socket.send("text")
        yield from socket.recv()
        return simulation.now_ns

    def bob(context):
        socket = context.csockets["Alice"]
        first = yield from socket.recv_int()
        second = yield from socket.recv_int()
        third = yield from socket.recv_int()
        real = yield from socket.recv_float()
        text = yield from socket.recv()
        socket.send("back")
        return [first, second, third], real, text, simulation.now_ns

    (end,), (received,) = play({"Alice": alice, "Bob": bob}, net, simulation=simulation)
    assert received == ([0, 1, 2], 0.1 + 0.2, "text", 30.0) and end == 60.0


def outcomes_of(seed, **options):
    def body(context):
        qubits = [Qubit(context.connection) for _ in range(4)]
        for qubit in qubits:
            qubit.H()
        outcomes = [qubit.measure() for qubit in qubits]
        yield from context.connection.flush()
        return [int(outcome) for outcome in outcomes]

    return play({"Alice": body}, network("Alice"), 10, seed=seed, **options)


def test_the_seed_decides():
    assert outcomes_of(1) == outcomes_of(1) != outcomes_of(2)


def test_all_courses_of_a_program_can_be_enumerated():
    """A qubit turned by 5 pi / 16, measured: exact chances, without a seed."""

    def body(context):
        qubit = Qubit(context.connection)
        qubit.rot_X(n=5, d=4)
        outcome = qubit.measure()
        yield from context.connection.flush()
        return int(outcome)

    found = branches(lambda draws: play({"Alice": body}, network("Alice"), rng=draws)[0][0])
    chances = probabilities(found, lambda outcome: outcome)
    zero = math.cos(5.0 * math.pi / 32.0) ** 2
    assert chances == pytest.approx({0: zero, 1: 1.0 - zero}, abs=1e-9)


def test_futures_keep_the_values_of_their_run():
    def coin(read):
        def body(context):
            qubit = Qubit(context.connection)
            qubit.H()
            outcome = qubit.measure()
            yield from context.connection.flush()
            return read(outcome)

        return play({"Alice": body}, network("Alice"), 40, seed=3)[0]

    kept = [int(future) for future in coin(lambda outcome: outcome)]
    assert kept == coin(int)
    assert len(set(kept)) == 2


def test_a_peer_may_look_before_operations_without_duration():
    simulation = Simulation()
    seen = []

    def alice(context):
        half = context.epr_sockets["Bob"].create_keep()[0]
        yield from context.connection.flush()
        half.measure()
        yield from context.connection.flush()

    def bob(context):
        half = context.epr_sockets["Alice"].recv_keep()[0]
        yield from context.connection.flush()
        qubit = simulation.qubit("Bob", half.qubit_id)
        seen.append(simulation.engine.entangled_with(qubit))
        half.measure()
        yield from context.connection.flush()

    play({"Alice": alice, "Bob": bob}, network(), simulation=simulation)
    assert len(seen[0]) == 2


# Errors


def test_what_a_program_raises_comes_as_it_is_with_a_note():
    class Odd(Exception):
        pass

    def body(context):
        yield from context.connection.flush()
        if context.app_id == 2:
            raise Odd("my own")
        return None

    with pytest.raises(Odd, match="my own") as caught:
        play({"Alice": body}, network("Alice"), 5)
    (note,) = caught.value.__notes__
    assert note.startswith("program play on Alice, run 3, test_squid_run.py:")


def test_a_qubit_used_after_its_measurement_names_everything():
    def body(context):
        qubit = Qubit(context.connection)
        qubit.measure()
        yield from context.connection.flush()
        qubit.active = True
        qubit.X()
        yield from context.connection.flush()

    with pytest.raises(
        SquidError, match=r"play on Alice, instruction \d+ .*virtual qubit 0 was freed"
    ) as caught:
        play({"Alice": body}, network("Alice"))
    assert "test_squid_run.py:" in caught.value.__notes__[-1]


def test_missing_sockets_say_which():
    net = network("Alice Bob Charlie")
    cut = Network(net.nodes, net.links, tuple(c for c in net.classical if c.b != "Charlie"))

    def asking(kind, peer):
        def body(context):
            getattr(context, kind)[peer].send("x")
            yield from ()

        return body

    for kind, peer, told in (
        ("csockets", "Charlie", "no classical connection between Alice and Charlie"),
        ("csockets", "Zoe", "there is no node 'Zoe': nodes are Alice, Bob, Charlie"),
        ("epr_sockets", "Zoe", "play on Alice names no EPR socket to 'Zoe'"),
    ):
        with pytest.raises(SquidError, match=told):
            play({"Alice": asking(kind, peer)}, cut)

    class Quiet(Program):
        meta = ProgramMeta("quiet", ["Bob"], ["Zoe"], 1)

        def run(self, context):
            yield from ()

    with pytest.raises(SquidError, match="there is no node 'Zoe'"):
        run_network(cut, {"Alice": Quiet()}, engine="numpy")


def test_a_message_that_is_no_number_is_told():
    def alice(context):
        context.csockets["Bob"].send("pi")
        yield from ()

    def bob(context):
        yield from context.csockets["Alice"].recv_float()

    with pytest.raises(SquidError, match="Bob expects float from Alice, got 'pi'"):
        play({"Alice": alice, "Bob": bob})


def test_who_waits_for_a_message_that_never_comes_is_told():
    def bob(context):
        yield from context.csockets["Alice"].recv()

    with pytest.raises(
        DeadlockError,
        match=r"play on Bob \(test_squid_run.py:\d+\) waits for a classical message from Alice$",
    ):
        play({"Bob": bob})


def test_a_deadlock_can_be_told_to_another_process():
    told = DeadlockError(5.0, [("play on Bob", "a message")])
    copy = pickle.loads(pickle.dumps(told))
    assert str(copy) == str(told) == "deadlock at 5 ns: play on Bob waits for a message"


def test_what_is_yielded_by_mistake_is_told():
    def body(context):
        yield context.connection.flush()

    with pytest.raises(SquidError, match="play on Alice yields <generator") as caught:
        play({"Alice": body}, network("Alice"))
    assert "test_squid_run.py:" in caught.value.__notes__[-1]


def test_endless_loops_end():
    def instructions(context):
        with context.connection.loop(2, step=0):
            Qubit(context.connection).measure()
        yield from context.connection.flush()

    def events(context):
        while True:
            Qubit(context.connection).measure()
            yield from context.connection.flush()

    def nothing(context):
        while True:
            yield from context.connection.flush()

    busy = Network((Node("Alice", Generic()),), (), ())
    for body, told in (
        (events, "more than 2000 events"),
        (nothing, "flushes of play on Alice with nothing to do"),
    ):
        with pytest.raises(LimitError, match=told):
            play({"Alice": body}, busy, most_events=2000)
    with pytest.raises(LimitError, match="play on Alice, instruction"):
        play({"Alice": instructions}, network("Alice"))


def test_many_short_runs_are_no_endless_loop():
    def body(context):
        Qubit(context.connection).measure()
        yield from context.connection.flush()

    busy = Network((Node("Alice", Generic()),), (), ())
    assert len(play({"Alice": body}, busy, 60, most_events=50)[0]) == 60


@pytest.mark.parametrize(
    ("net", "names", "options", "told"),
    [
        (network(), ["Zoe"], {}, "a program is for 'Zoe', which is no node"),
        (network("Alice Alice"), [], {}, "nodes must have different names"),
        (network(), [], {"num_times": 0}, "num_times must be >= 1"),
        (network(), [], {"engine": "qutip"}, "engine must be aer or numpy"),
        (network(delay=math.nan), [], {}, "delay must be finite"),
        (network(link=Depolarise(fidelity=2.0)), [], {}, "link of Alice and Bob: fidelity"),
        (
            Network((Node("Alice", EXACT),), (), (Classical("Alice", "Eve"),)), [], {},
            "a classical connection needs two different nodes",
        ),
    ],
)  # fmt: skip
def test_bad_settings_are_told(net, names, options, told):
    programs = {name: Play(lambda _: None, []) for name in names}
    with pytest.raises((SquidError, InputError), match=told):
        run_network(net, programs, **{"engine": "numpy", **options})


def test_text_that_netqasm_cannot_read_names_program_node_and_line():
    def alice(context):
        yield from context.connection.flush()
        parse_text_subroutine("# NETQASM 1.0\n# APPID 0\nset Q0 0\nfrobnicate Q0\n")

    with pytest.raises(SquidError, match=r"play on Alice, .*:\d+: Unknown instruction frobnicate"):
        play({"Alice": alice}, network("Alice"))


def test_a_host_loop_that_takes_no_time_is_stopped():
    def alice(context):
        while True:
            Qubit(context.connection).measure()
            yield from context.connection.flush()

    with pytest.raises(LimitError, match="events at 0 ns and no time passes"):
        play({"Alice": alice}, network("Alice"), most_events=5000)
    with pytest.raises(LimitError, match="events and no run has ended"):
        play({"Alice": alice}, network("Alice", device=Generic()), most_events=5000)


@pytest.mark.parametrize(("gate", "steps"), [("S", 8), ("T", 4), ("K", None)])
def test_phases_on_nv_devices_are_not_inverted(gate, steps):
    """A phase turns X towards Y; netqasm's own transpiler turns it the other way."""
    exact = Nv(
        electron_init_depolar=0.0, flip_0=0.0, flip_1=0.0, electron_t1_ns=0.0, electron_t2_ns=0.0
    )
    simulation = Simulation()

    def alice(context):
        qubit = Qubit(context.connection)
        if gate == "K":
            qubit.K()
        else:
            qubit.H()
            getattr(qubit, gate)()
        yield from context.connection.flush()
        return simulation.state([simulation.qubit("Alice", qubit.qubit_id)])

    net = Network((Node("Alice", exact),), (), ())
    ((state,),) = play({"Alice": alice}, net, simulation=simulation)
    # K takes |0> to the +1 state of Y.
    phase = math.pi / 2.0 if steps is None else steps * math.pi / 16.0
    assert state[1, 0] == pytest.approx(complex(math.cos(phase), math.sin(phase)) / 2.0, abs=1e-9)

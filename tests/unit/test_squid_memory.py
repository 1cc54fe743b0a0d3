"""Time, noise and positions of a device, against closed forms and a dense calculation."""

from dataclasses import replace
from itertools import permutations

import dense
import numpy as np
import pytest

pytest.importorskip("netqasm")

import squid_stage as s
from netqasm.sdk.transpile import NVSubroutineTranspiler

from backends.squid import matrices
from backends.squid.appmemory import AppMemory, register_index
from backends.squid.clock import Clock, Delay, Until
from backends.squid.errors import DeadlockError, SquidError
from backends.squid.instructions.moves import Moves
from backends.squid.matrices import depolarise, of_unitary
from backends.squid.memory import Operation, QuantumMemory
from backends.squid.setting import Generic

PLUS = np.full((2, 2), 0.5)
ONE = np.diag([0.0, 1.0])
ZERO = np.diag([1.0, 0.0])
CNOT, CPHASE = dense.CNOT, np.diag([1, 1, 1, -1])


def mixed(rho, p, qubit):
    """Put I/2 in place of a qubit with probability p, by a sum over Pauli operators."""
    kraus = [np.sqrt(1 - 0.75 * p) * dense.ONE, *(np.sqrt(p / 4) * m for m in dense.PAULIS[1:])]
    return dense.apply(rho, kraus, [qubit])


def steps_of(node, *steps):
    """Play steps one after the other; return what the last one returned."""

    def run():
        for step in steps:
            result = yield from step
        return result

    process = node.clock.start("test", run())
    node.clock.run()
    return process.result


def holding(device, *states, draws=(0.5,)):
    """Return a stage whose first positions hold these states."""
    node = s.stage(device, draws)
    for position, state in enumerate(states):
        if state is not None:
            node.memory.take(position)
            near, far = node.memory.engine.pair(np.kron(state, ZERO))
            node.memory.engine.discard(far)
            node.memory.put(position, near)
            node.app.map(position, position)
    return node


def random_state(qubits, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2**qubits, 2**qubits, 2)) @ [1, 1j]
    rho = root @ root.conj().T
    return rho / np.trace(rho)


# Decay


@pytest.mark.parametrize(
    ("t1", "t2", "kept", "coherence"),
    [
        (40.0, 50.0, np.exp(-30 / 40), np.exp(-30 / 50)),
        (40.0, 0.0, np.exp(-30 / 40), np.exp(-30 / 80)),
        (0.0, 50.0, 1.0, np.exp(-30 / 50)),
        (0.0, 0.0, 1.0, 1.0),
        # Coherence cannot outlive relaxation.
        (40.0, 1e9, np.exp(-30 / 40), np.exp(-30 / 80)),
    ],
)
def test_idle_qubits_relax_and_dephase(t1, t2, kept, coherence):
    node = holding(replace(s.GENERIC, t1_ns=t1, t2_ns=t2), ONE, PLUS)
    steps_of(node, iter([Delay(30.0)]))
    assert np.allclose(node.memory.state([0]), np.diag([1 - kept, kept]))
    expected = [[1 - kept / 2, coherence / 2], [coherence / 2, kept / 2]]
    assert np.allclose(node.memory.state([1]), expected)


def test_looking_does_not_change_the_decay():
    looked, alone = (holding(replace(s.GENERIC, t1_ns=40.0, t2_ns=50.0), PLUS) for _ in "ab")
    for time_ns in (1.0, 7.0, 20.0):
        looked.clock.at(time_ns, lambda: looked.memory.state([0]))
    for node in (looked, alone):
        steps_of(node, iter([Delay(30.0)]))
    assert np.allclose(looked.memory.state([0]), alone.memory.state([0]))


def test_a_qubit_in_an_operation_does_not_decay():
    node = holding(replace(s.GENERIC, t1_ns=10.0, t2_ns=10.0, single_ns=100.0), ONE, ONE)
    node.clock.at(50.0, lambda: node.memory.state([0, 1]))
    steps_of(node, node.memory.operate(Operation.gate(dense.Z, 100.0, 0.0), 0))
    assert np.allclose(node.memory.state([0]), ONE)
    assert node.memory.state([1])[1, 1] == pytest.approx(np.exp(-10))


def test_an_nv_decays_by_the_place():
    device = replace(
        s.NV, electron_t1_ns=20.0, electron_t2_ns=10.0, carbon_t1_ns=200.0, carbon_t2_ns=100.0
    )
    node = holding(device, PLUS, PLUS)
    steps_of(node, iter([Delay(5.0)]))
    for position, scale in ((0, 1.0), (1, 0.1)):
        rho = node.memory.state([position])
        assert rho[0, 1] == pytest.approx(0.5 * np.exp(-0.5 * scale))
        assert rho[1, 1] == pytest.approx(0.5 * np.exp(-0.25 * scale))


def test_time_goes_on_between_instructions_of_others():
    # Qubit 1 waits for init (2), turn (3) and measurement (700) of qubit 0.
    node = s.stage(replace(s.GENERIC, t1_ns=1000.0, t2_ns=0.0))
    s.play(node, s.started(1) + "set Q1 1\nrot_x Q1 1 0\n" + s.started(0))
    s.play(node, "set Q0 0\nrot_x Q0 1 0\nmeas Q0 M0")
    assert s.at(node, 1)[1, 1] == pytest.approx(np.exp(-705 / 1000))


# Noise of operations


@pytest.mark.parametrize("p", [0.03, 0.5, 1.0])
def test_a_single_gate_depolarises_its_qubit(p):
    node = s.stage(replace(s.GENERIC, single_depolar=p))
    s.play(node, s.started(0) + "set Q0 0\nx Q0\nh Q0")
    assert np.allclose(s.at(node, 0), [[0.5, -0.5 * (1 - p) ** 2], [-0.5 * (1 - p) ** 2, 0.5]])


@pytest.mark.parametrize(("name", "matrix"), [("cnot", CNOT), ("cphase", CPHASE)])
def test_a_two_qubit_gate_depolarises_each_qubit(name, matrix):
    rho, p = random_state(2, 4), 0.2
    node = s.stage(replace(s.GENERIC, two_depolar=p))
    for position, qubit in enumerate(node.memory.engine.pair(rho)):
        node.memory.take(position)
        node.memory.put(position, qubit)
        node.app.map(position, position)
    s.play(node, f"set Q0 1\nset Q1 0\n{name} Q0 Q1")
    expected = mixed(mixed(dense.apply(rho, [matrix], [1, 0]), p, 0), p, 1)
    assert np.allclose(s.at(node, 0, 1), expected)


def test_phi_plus_through_a_noisy_cnot_has_the_fidelity_of_two_channels():
    p = 0.1
    node = s.stage(replace(s.GENERIC, two_depolar=p))
    s.play(node, s.started(0, 1) + "set Q0 0\nset Q1 1\nh Q0\ncnot Q0 Q1")
    fidelity = dense.BELL[0] @ s.at(node, 0, 1) @ dense.BELL[0]
    assert fidelity == pytest.approx((1 - p) ** 2 + (1 - (1 - p) ** 2) / 4)


NOISY = replace(
    s.NV,
    electron_init_depolar=0.1,
    electron_single_depolar=0.02,
    carbon_init_depolar=0.2,
    carbon_z_depolar=0.04,
    ec_depolar=0.08,
)


def test_initialisation_of_an_nv_is_noisy():
    node = s.stage(NOISY)
    s.play(node, s.started(0, 1))
    assert np.allclose(s.at(node, 0), np.diag([0.95, 0.05]))
    assert np.allclose(s.at(node, 1), np.diag([0.9, 0.1]))
    s.play(s_node := s.stage(NOISY), s.started(1) + "set Q0 1\nrot_x Q0 1 0\ninit Q0")
    assert np.allclose(s.at(s_node, 1), np.diag([0.9, 0.1]))


@pytest.mark.parametrize("axis", "xyz")
def test_rotations_of_an_nv_are_noisy_by_the_place(axis):
    node = holding(NOISY, random_state(1, 1), random_state(1, 2))
    turn = matrices.rotation(axis, 3, 3)
    s.play(node, f"set Q0 0\nrot_{axis} Q0 3 3\nset Q0 1\nrot_{axis} Q0 3 3")
    for position, p in ((0, 0.02), (1, 0.04)):
        clean = turn @ random_state(1, position + 1) @ turn.conj().T
        assert np.allclose(s.at(node, position), mixed(clean, p, 0))


def test_controlled_rotations_are_noisy_on_both():
    rho = np.kron(random_state(1, 1), random_state(1, 2))
    node = holding(NOISY, random_state(1, 1), random_state(1, 2))
    s.play(node, "set Q0 0\nset Q1 1\ncrot_y Q0 Q1 3 2")
    gate = np.zeros((4, 4), dtype=complex)
    for control, angle in ((0, 3 * np.pi / 8), (1, -3 * np.pi / 8)):
        block = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        gate[2 * control : 2 * control + 2, 2 * control : 2 * control + 2] = block
    expected = mixed(mixed(dense.apply(rho, [gate], [0, 1]), 0.08, 0), 0.08, 1)
    assert np.allclose(s.at(node, 0, 1), expected)


@pytest.mark.parametrize(("e0", "e1"), [(0.05, 0.005), (0.3, 0.1), (0.0, 0.9)])
def test_readout_errors_of_an_nv(e0, e1):
    device, rho = replace(s.NV, flip_0=e0, flip_1=e1), random_state(1, 3)
    chance = (1 - e0) * rho[0, 0].real + e1 * rho[1, 1].real
    for draw, outcome in ((chance - 1e-9, 0), (chance + 1e-9, 1)):
        node = holding(device, rho, draws=[draw])
        s.play(node, "set Q0 0\nmeas Q0 M0")
        assert s.values(node, "M0") == [outcome]
        kraus = np.sqrt([[1 - e0, e1], [e0, 1 - e1]])[outcome]
        after = rho * np.outer(kraus, kraus)
        assert np.allclose(s.at(node, 0), after / np.trace(after))


# Moves of an NV


def entangled(node, positions, seed):
    """Fill positions of an NV with halves of states whose other halves are far away."""
    far, joint = [], np.ones((1, 1))
    for index, position in enumerate(positions):
        state = random_state(2, seed + index)
        node.memory.take(position)
        near, other = node.memory.engine.pair(state)
        node.memory.put(position, near)
        node.app.map(position, position)
        far.append(other)
        joint = np.kron(joint, state)
    return far, joint


def pairs(node, virtual_ids, far):
    """Return the joint state of near and far halves, pair by pair."""
    near = [node.memory.qubit(node.app.positions[v]) for v in virtual_ids]
    order = [q for both in zip(near, far, strict=True) for q in both]
    return node.memory.engine.state(order)


@pytest.mark.parametrize(("source", "target"), list(permutations(range(4), 2)))
@pytest.mark.parametrize("bystanders", [(), (0,), (1,), (0, 1)])
def test_moves_keep_entanglement_and_bystanders(source, target, bystanders):
    if {source, target} & set(bystanders):
        return
    node = s.stage(s.NV)
    far, joint = entangled(node, (source, *bystanders), 10)
    s.play(node, s.started(target) + f"set Q0 {source}\nset Q1 {target}\nmov Q0 Q1")
    assert np.allclose(pairs(node, (target, *bystanders), far), joint)
    ids, filled = {source, target, *bystanders}, node.memory.filled()
    assert len(filled) == len(ids) and (0 in filled) == (0 in ids) == node.memory.is_taken(0)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (2, 0), (1, 3)])
@pytest.mark.parametrize("bystanders", [(), (0,), (2,)])
def test_swaps_exchange_states(a, b, bystanders):
    if {a, b} & set(bystanders):
        return
    node = s.stage(s.NV)
    far, joint = entangled(node, (a, b, *bystanders), 20)
    s.play(node, f"set Q0 {a}\nset Q1 {b}\nswp Q0 Q1")
    assert np.allclose(pairs(node, (b, a, *bystanders), far), joint)
    assert set(node.memory.filled()) == {a, b, *bystanders}


TO_CARBON = 11 + 3 + 3100 + 2 + 2900
TO_ELECTRON = 23 + 3 + 3100 + 2 + 2900 + 3


@pytest.mark.parametrize(
    ("qubits", "ids", "time_ns"),
    [
        (2, (1,), TO_ELECTRON),
        (3, (1, 0), TO_CARBON + TO_ELECTRON),
        # No carbon is free: three controlled rotations, each between two turns.
        (2, (1, 0), 2 * 2900 + 3100 + 2 * 3 + 2 * 2 + 2 * 170),
    ],
)
@pytest.mark.parametrize("outcome", [0, 1])
def test_carbons_are_measured_at_the_electron(qubits, ids, time_ns, outcome):
    node = s.stage(replace(s.NV, qubits=qubits), draws=[1e-9 if outcome == 0 else 1 - 1e-9])
    far, joint = entangled(node, ids, 30)
    assert s.play(node, "set Q0 1\nmeas Q0 M0") == time_ns + 37
    assert s.values(node, "M0") == [outcome]
    projector = np.diag([1 - outcome, outcome])
    after = dense.apply(joint, [projector], [0])
    assert np.allclose(pairs(node, ids, far), after / np.trace(after))
    assert node.app.positions[1] == 0
    s.play(node, "qfree Q0")
    assert len(node.memory.filled()) == len(ids) - 1


def test_a_carbon_may_be_measured_in_any_basis():
    turns = [matrices.rotation("y", 5, 4), matrices.rotation("x", 3, 4)]
    turned = turns[0] @ turns[1] @ random_state(1, 8) @ (turns[0] @ turns[1]).conj().T
    for draw, outcome in ((turned[0, 0].real - 1e-9, 0), (turned[0, 0].real + 1e-9, 1)):
        node = holding(s.NV, None, random_state(1, 8), draws=[draw])
        s.play(node, "set Q0 1\nmeas_basis Q0 M0 3 5 0 4")
        assert s.values(node, "M0") == [outcome]


def test_a_move_has_the_noise_of_its_gates():
    rho = random_state(2, 5)
    node = s.stage(NOISY)
    node.memory.take(0)
    near, far = node.memory.engine.pair(rho)
    node.memory.put(0, near)
    node.memory.take(1)
    steps_of(node, Moves(NOISY).to_carbon(node.memory, 1))
    # Electron, far half, carbon.
    expected = mixed(np.kron(rho, ZERO), 0.2, 2)
    for qubits, axis, n, p in (
        ([0], "y", 1, 0.02), ([0, 2], "y", -1, 0.08), ([0], "x", -1, 0.02), ([0, 2], "x", 1, 0.08)
    ):  # fmt: skip
        turn = matrices.rotation if len(qubits) == 1 else matrices.controlled_rotation
        expected = dense.apply(expected, [turn(axis, n, 1)], qubits)
        for qubit in qubits:
            expected = mixed(expected, p, qubit)
    got = node.memory.engine.state([near, far, node.memory.qubit(1)])
    assert np.allclose(got, expected)


def waiting_for_the_electron():
    node = s.stage(s.NV)
    entangled(node, (1,), 40)
    assert node.memory.allocate(network=True) == 0
    return node


def test_the_electron_kept_for_a_pair_is_waited_for():
    node = waiting_for_the_electron()
    node.clock.at(5000.0, lambda: node.netstack.deliver(node, 2, 0))
    assert s.play(node, "set Q0 1\nmeas Q0 M0") == 5000 + TO_CARBON + TO_ELECTRON + 37
    assert node.app.positions == {1: 0, 2: 2}


def test_an_electron_that_never_comes_free_is_told():
    with pytest.raises(DeadlockError, match="Alice waits for the electron, which is kept for half"):
        s.play(waiting_for_the_electron(), "set Q0 1\nmeas Q0 M0")


@pytest.mark.parametrize("carbons", [1, 2])
def test_an_electron_that_holds_nothing_makes_room(carbons):
    node = s.stage(replace(s.NV, qubits=carbons + 1))
    entangled(node, (1,), 50)
    s.play(node, "set Q0 0\nqalloc Q0\nset Q0 1\nmeas Q0 M0")
    assert node.app.positions == {0: carbons, 1: 0}
    s.play(node, "set Q0 0\ninit Q0")
    assert np.allclose(s.at(node, 0), ZERO)


@pytest.mark.parametrize("others", [(), (0,), (0, 3), (3,)])
@pytest.mark.parametrize(("name", "pair"), [("cnot", (1, 2)), ("cnot", (2, 1)), ("cphase", (1, 2))])
def test_compiled_gates_between_carbons_are_exact(others, name, pair):
    node = s.stage(s.NV)
    ids = sorted({*others, *pair})
    text = s.started(*ids)
    for v in ids:
        text += f"set Q0 {v}\nrot_x Q0 {2 * v + 3} 3\nrot_z Q0 {v + 1} 2\n"
    s.play(node, text)
    before = s.at(node, *ids)
    gate = s.parse(f"set Q0 {pair[0]}\nset Q1 {pair[1]}\n{name} Q0 Q1")
    s.play(node, NVSubroutineTranspiler(gate).transpile())
    after = dense.apply(before, [CNOT if name == "cnot" else CPHASE], [ids.index(v) for v in pair])
    assert np.allclose(s.at(node, *ids), after)
    assert len(node.memory.filled()) == len(ids)


def test_a_control_that_was_displaced_comes_back_to_the_electron():
    node = s.stage(s.NV, draws=[1e-9])
    far, joint = entangled(node, (0, 1), 70)
    s.play(node, "set Q0 0\nset Q1 1\nmeas Q1 M0\nqfree Q1")
    assert node.app.positions == {0: 2}
    s.play(node, s.started(1) + "crot_x Q0 Q1 3 2")
    assert node.app.positions[0] == 0
    halves = [node.memory.qubit(node.app.positions[v]) for v in (0, 1)]
    state = node.memory.engine.state([halves[0], far[0], halves[1]])
    kept = np.einsum("aibi->ab", joint.reshape(4, 4, 4, 4))
    gate = matrices.controlled_rotation("x", 3, 2)
    assert np.allclose(state, dense.apply(np.kron(kept, ZERO), [gate], [0, 2]))


@pytest.mark.parametrize("between", ["", "set Q2 2\nmeas Q2 M0\nqfree Q2\n"])
def test_a_lent_state_comes_back(between):
    node = s.stage(s.NV, draws=[1e-9])
    far, joint = entangled(node, (1, 2), 80)
    s.play(node, f"set Q0 0\nset Q1 1\nswp Q0 Q1\n{between}swp Q1 Q0")
    assert set(node.app.positions) == ({1} if between else {1, 2}) and 0 not in node.app.positions
    kept = np.einsum("aibi->ab", joint.reshape(4, 4, 4, 4))
    assert np.allclose(pairs(node, (1,), far[:1]), kept)


def test_a_swap_with_nothing_is_refused_but_for_the_compiler():
    node = s.stage(s.NV)
    entangled(node, (0,), 60)
    with pytest.raises(SquidError, match="virtual qubit 2 is not allocated"):
        s.play(node, "set Q0 0\nset Q1 2\nswp Q0 Q1")


# Positions and turns


def test_positions_of_a_generic_device_are_alike():
    memory = s.stage().memory
    taken = [memory.allocate(), memory.allocate(network=True), memory.allocate(storage=True)]
    assert [*taken, memory.allocate_for(7), memory.allocate()] == [0, 1, 2, 3, None]
    memory.free(2)
    assert not memory.is_taken(2) and memory.take(2) and not memory.take(2)


def test_positions_of_an_nv_are_not():
    memory = s.stage(s.NV).memory
    assert memory.allocate(network=True) == 0 and memory.allocate(network=True) is None
    assert memory.allocate_for(0) is None and memory.allocate_for(5) == 1
    assert [memory.allocate(storage=True) for _ in range(3)] == [2, 3, None]
    memory.reset()
    assert memory.allocate_for(0) == 0


def test_halves_come_to_positions_that_were_kept():
    node = holding(s.GENERIC, PLUS)
    for position in (0, 1):
        with pytest.raises(SquidError, match=f"position {position} is not waiting for a qubit"):
            node.memory.put(position, 0)
    node.memory.reset()
    assert node.memory.filled() == () and node.memory.engine.order == []


def test_operations_of_one_device_do_not_overlap():
    node, ends = holding(s.GENERIC, ZERO, ZERO, ZERO), []

    def one(steps):
        yield from steps
        ends.append(node.clock.now_ns)

    gate = Operation.gate(dense.X, 100.0, 0.0)
    memory = node.memory
    for steps in (memory.operate(gate, 0), memory.measure(1), memory.initialise(2)):
        node.clock.start("process", one(steps))
    node.clock.run()
    assert ends == [100.0, 800.0, 802.0]


def test_what_takes_no_time_takes_no_event():
    memory = QuantumMemory(
        Clock(), s.PlainEngine(), Generic(init_ns=0.0, measure_ns=0.0), s.Draws(0.5)
    )
    memory.take(0)
    assert list(memory.initialise(0)) == [] and list(memory.measure(0)) == []


def test_superoperators_of_gates():
    p, gate = 0.3, matrices.rotation("y", 1, 3)
    rho = random_state(1, 9)
    got = Operation.gate(gate, 1.0, p).matrix @ rho.reshape(-1)
    assert np.allclose(got.reshape(2, 2), mixed(gate @ rho @ gate.conj().T, p, 0))
    assert np.allclose(depolarise(0.0), np.eye(4))
    assert np.allclose(of_unitary(dense.Y) @ rho.reshape(-1), (dense.Y @ rho @ dense.Y).reshape(-1))


# What an application sees


def test_virtual_qubits_are_mapped_once():
    app = AppMemory(Clock())
    app.map(3, 1)
    assert app.virtual_at(1) == 3 and app.virtual_at(0) is None
    with pytest.raises(SquidError, match="virtual qubit 3 is in use already"):
        app.map(3, 2)
    app.mark_pending(4, "a pair")
    assert app.is_pending(4)
    app.reset()
    assert not app.is_pending(4) and app.positions == {}


@pytest.mark.parametrize("name", ["R16", "X0", 7])
def test_registers_have_names(name):
    with pytest.raises(SquidError, match="is no register"):
        register_index(name)


def test_slices_are_written_at_once():
    clock = Clock()
    app, woken = AppMemory(clock), []
    app.new_array(2, 4)

    def wait():
        while None in app.read_slice(2, 1, 3):
            yield Until(app.changed, "entries")
            woken.append(clock.now_ns)

    clock.start("reader", wait())
    clock.at(3.0, lambda: app.write_slice(2, 1, [8, 9]))
    clock.run()
    assert woken == [3.0] and app.get_array(2) == [None, 8, 9, None]
    with pytest.raises(SquidError, match=r"@2\[3:5\] is outside the array: 4 entries"):
        app.write_slice(2, 3, [1, 2])

"""Every NetQASM instruction does what it says, takes the time it should, or says why it cannot."""

import logging
from functools import reduce

import dense
import numpy as np
import pytest
from scipy.linalg import expm

pytest.importorskip("netqasm")

import squid_stage as s
from netqasm.lang.instr import core, nv, vanilla
from netqasm.lang.instr.flavour import CORE_INSTRUCTIONS, NVFlavour, REIDSFlavour, VanillaFlavour
from netqasm.lang.ir import BreakpointAction, BreakpointRole
from netqasm.lang.operand import Immediate, Register
from netqasm.lang.subroutine import Subroutine

from backends.squid import interpreter
from backends.squid.clock import Delay
from backends.squid.errors import DeadlockError, SquidError
from backends.squid.interpreter import known_instructions
from backends.squid.setting import Generic, Nv

DEVICES = {"generic": s.GENERIC, "nv": s.NV}
both = pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)

# A state without any symmetry: three turns of |0>.
ODD = "rot_x {q} 3 2\nrot_y {q} 5 3\nrot_z {q} 9 4\n"


def turn(axis, n, d):
    pauli = {"x": dense.X, "y": dense.Y, "z": dense.Z}[axis]
    return expm(-0.5j * n * np.pi / 2**d * pauli)


def odd():
    ket = turn("z", 9, 4) @ turn("y", 5, 3) @ turn("x", 3, 2) @ [1, 0]
    return np.outer(ket, ket.conj())


def by(unitary, rho):
    return unitary @ rho @ unitary.conj().T


# The sets of instructions


@pytest.mark.parametrize(
    ("flavour", "device"), [(VanillaFlavour, Generic()), (NVFlavour, Nv()), (REIDSFlavour, Nv())]
)
def test_each_instruction_of_a_flavour_is_known(flavour, device):
    theirs = {*CORE_INSTRUCTIONS, *flavour().instrs, *flavour().id_map.values()}
    assert theirs - known_instructions(device) == set()


def test_generic_devices_also_do_what_nv_devices_do():
    assert set(NVFlavour().instrs) <= known_instructions(Generic())


# Gates

SINGLE = {
    "x": np.array([[0, 1], [1, 0]]),
    "y": np.array([[0, -1j], [1j, 0]]),
    "z": np.diag([1, -1]),
    "h": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
    "k": np.array([[1, -1j], [1j, -1]]) / np.sqrt(2),
    "s": np.diag([1, 1j]),
    "t": np.diag([1, np.exp(1j * np.pi / 4)]),
}


def test_all_single_gates_are_tested():
    kinds = [i for i in VanillaFlavour().instrs if issubclass(i, core.SingleQubitInstruction)]
    assert {kind.mnemonic for kind in kinds} == set(SINGLE)


@pytest.mark.parametrize("name", SINGLE)
def test_single_gates(name):
    node = s.stage()
    took = s.play(node, s.started(2) + "set Q0 2\n" + ODD.format(q="Q0") + f"{name} Q0")
    assert took == 2.0 + 4 * 3.0
    assert np.allclose(s.at(node, 2), by(SINGLE[name], odd()))


@both
@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize(("n", "d"), [(1, 0), (7, 4), (-3, 2), (31, 0), (1, 70)])
def test_rotations(device, axis, n, d):
    node = s.stage(device)
    text = "set Q0 0\n" + ODD.format(q="Q0") + f"rot_{axis} Q0 {n} {d}"
    took = s.play(node, s.started(0) + text)
    times = {"generic": {"x": 3, "y": 3, "z": 3}, "nv": {"x": 2, "y": 3, "z": 5}}
    mine = times["nv" if device is s.NV else "generic"]
    init = 23 if device is s.NV else 2
    assert took == pytest.approx(init + sum(mine.values()) + mine[axis])
    assert np.allclose(s.at(node, 0), by(turn(axis, n, d), odd()))


def test_carbons_turn_at_their_own_pace():
    node = s.stage(s.NV)
    assert s.play(node, s.started(1) + "set Q0 1\n" + ODD.format(q="Q0")) == 11 + 130 + 170 + 190
    assert np.allclose(s.at(node, 1), odd())


def test_an_angle_may_come_from_registers():
    node = s.stage()
    code = s.parse(s.started(0) + "set R0 3\nset R1 2\nset Q0 0")
    registers = {"imm0": Register.from_str("R0"), "imm1": Register.from_str("R1")}
    code.instructions.append(vanilla.RotXInstruction(reg=Register.from_str("Q0"), **registers))
    s.play(node, code)
    assert np.allclose(s.at(node, 0), by(turn("x", 3, 2), np.diag([1, 0])))


TWO = {
    "cnot": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]),
    "cphase": np.diag([1, 1, 1, -1]),
    "swp": np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
}
PREPARED = s.started(0, 1) + "set Q0 0\nset Q1 1\n" + ODD.format(q="Q0") + "rot_x Q1 5 3\n"


def prepared():
    return np.kron(odd(), by(turn("x", 5, 3), np.diag([1, 0])))


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("turned", [False, True])
def test_two_qubit_gates(name, turned):
    node = s.stage()
    order = ("Q1 Q0", [1, 0]) if turned else ("Q0 Q1", [0, 1])
    took = s.play(node, PREPARED + f"{name} {order[0]}")
    assert took == 2 * 2.0 + 4 * 3.0 + 50.0
    expected = dense.apply(prepared(), [TWO[name]], order[1])
    assert np.allclose(s.at(node, 0, 1), expected)


@both
@pytest.mark.parametrize(("axis", "time_ns"), [("x", 2900), ("y", 3100)])
def test_controlled_rotations(device, axis, time_ns):
    node = s.stage(device)
    before = s.play(node, PREPARED)
    kind = nv.ControlledRotXInstruction if axis == "x" else nv.ControlledRotYInstruction
    code = Subroutine(
        [
            kind(
                reg0=Register.from_str("Q0"),
                reg1=Register.from_str("Q1"),
                imm0=Immediate(5),
                imm1=Immediate(3),
            )
        ]
    )
    assert s.play(node, code) == (time_ns if device is s.NV else 50.0)
    pauli = dense.X if axis == "x" else dense.Y
    both_turned = expm(-0.5j * 5 * np.pi / 8 * np.kron(dense.Z, pauli))
    assert before > 0
    assert np.allclose(s.at(node, 0, 1), by(both_turned, prepared()))


@both
@pytest.mark.parametrize(("source", "target"), [(0, 1), (1, 0), (1, 2), (2, 3)])
def test_mov_brings_a_state_to_an_allocated_qubit(device, source, target):
    node = s.stage(device)
    text = s.started(*sorted({source, target})) + f"set Q0 {source}\nset Q1 {target}\n"
    s.play(node, text + ODD.format(q="Q0") + "rot_x Q1 1 1\nmov Q0 Q1")
    assert np.allclose(s.at(node, target), odd())
    assert sorted(node.app.positions) == sorted({source, target})


def test_mov_of_a_generic_device_takes_a_gate_and_leaves_zero():
    node = s.stage()
    s.play(node, PREPARED)
    assert s.play(node, "mov Q0 Q1") == 50.0
    assert np.allclose(s.at(node, 0, 1), np.kron(np.diag([1, 0]), odd()))


# Measurements


@both
@pytest.mark.parametrize(
    ("name", "axes"), [("meas_basis", "xyx"), ("meas_basis_yzy", "yzy"), ("meas_basis_zxz", "zxz")]
)
@pytest.mark.parametrize("angles", [(3, 5, 7), (0, 8, 0), (0, 24, 3)])
def test_bases_turn_before_the_measurement(device, name, axes, angles):
    turns = [turn(a, n, 4) for a, n in zip(axes, angles, strict=True)]
    chance = by(reduce(lambda done, t: t @ done, turns), odd())[0, 0].real
    for draw, outcome in ((chance - 1e-9, 0), (chance + 1e-9, 1)):
        node = s.stage(device, draws=[draw])
        before = s.play(node, s.started(0) + "set Q0 0\n" + ODD.format(q="Q0"))
        took = s.play(node, f"{name} Q0 M4 {' '.join(map(str, angles))} 4")
        times = {"x": 2, "y": 3, "z": 5} if device is s.NV else dict.fromkeys("xyz", 3)
        done = sum(times[a] for a, n in zip(axes, angles, strict=True) if n)
        assert took == done + (37 if device is s.NV else 700)
        assert before > 0 and s.values(node, "M4") == [outcome]
        assert np.allclose(s.at(node, 0), np.diag([1 - outcome, outcome]))


@both
def test_a_measured_qubit_stays_until_it_is_freed(device):
    node = s.stage(device, draws=[0.9])
    s.play(node, s.started(0) + "set Q0 0\nrot_x Q0 1 1\nmeas Q0 M0\nmeas Q0 M1\nqfree Q0")
    assert s.values(node, "M0", "M1") == [1, 1]
    assert node.memory.filled() == () and node.app.positions == {}


# Registers, arrays, branches


@pytest.mark.parametrize(
    ("a", "op", "b", "result"),
    [
        (7, "add", 5, 12),
        (7, "sub", 9, -2),
        (-7, "mul", 6, -42),
        (7, "div", 2, 3),
        (-7, "div", 2, -4),
        (-7, "rem", 2, 1),
        (2**31 - 1, "add", 0, 2**31 - 1),
        (-(2**31), "sub", 0, -(2**31)),
    ],
)
def test_arithmetic(a, op, b, result):
    node = s.stage()
    assert s.play(node, f"set R0 {a}\nset R1 {b}\n{op} R2 R0 R1") == 0.0
    assert s.values(node, "R2") == [result]


@pytest.mark.parametrize(("op", "result"), [("addm", 2), ("subm", 4)])
def test_modular_arithmetic(op, result):
    node = s.stage()
    s.play(node, f"set R0 3\nset R1 9\nset R2 5\n{op} R0 R0 R1 R2")
    assert s.values(node, "R0") == [result]


@pytest.mark.parametrize(
    ("branch", "taken"),
    [
        ("jmp END", True),
        ("bez R0 END", False),
        ("bez R2 END", True),
        ("bnz R0 END", True),
        ("bnz R2 END", False),
        ("beq R0 R1 END", False),
        ("beq R0 R0 END", True),
        ("bne R0 R1 END", True),
        ("bne R0 R0 END", False),
        ("blt R0 R1 END", True),
        ("blt R0 R0 END", False),
        ("blt R1 R0 END", False),
        ("bge R1 R0 END", True),
        ("bge R0 R0 END", True),
        ("bge R0 R1 END", False),
    ],
)
def test_branches(branch, taken):
    node = s.stage()
    s.play(node, f"set R0 1\nset R1 2\nset R2 0\n{branch}\nset C0 9\nEND:")
    assert s.values(node, "C0") == [None if taken else 9]


def test_a_loop_sums():
    node = s.stage()
    text = "set R0 0\nset R1 0\nset R2 1\nset R3 10\nLOOP:\nbeq R0 R3 END\n"
    s.play(node, text + "add R0 R0 R2\nadd R1 R1 R0\njmp LOOP\nEND:\nret_reg R1")
    assert s.values(node, "R0", "R1") == [10, 55]


def test_arrays():
    node = s.stage()
    text = "set R0 3\nset R1 7\narray R0 @4\nstore R1 @4[0]\nstore R0 @4[2]\nload R2 @4[0]\n"
    s.play(node, text + "lea R3 @4\nundef @4[2]\nstore R2 @4[1]\nret_arr @4")
    assert s.values(node, "R2", "R3") == [7, 4]
    assert node.app.get_array(4) == [7, 7, None]
    # As netqasm's futures read it.
    assert node.app.get_array_part(address=4, index=1) == 7
    assert node.app.get_array_part(address=4, index=slice(0, 2)) == [7, 7]
    assert node.app.get_array_part(address=99, index=0) is None
    with pytest.raises(IndexError):
        node.app.get_array_part(address=4, index=3)


# Pairs and waiting

REQUEST = "set R0 1\nset R1 0\nset R2 5\nset R3 6\nset R4 7\nset R5 2\narray R5 @5\n"
REQUEST += "set R6 0\nstore R6 @5[0]\nstore R5 @5[1]\nset R5 20\narray R5 @7\narray R5 @6\n"


def test_requests_return_at_once_with_their_numbers():
    node = s.stage()
    assert s.play(node, REQUEST + "create_epr R0 R1 R2 R3 R4\nrecv_epr R0 R1 R2 R4") == 0.0
    assert node.netstack.calls == [("create", 1, 0, 5, 6, 7), ("receive", 1, 0, 5, 7)]


def test_a_request_may_name_no_qubits():
    node = s.stage()
    s.play(node, REQUEST + "create_epr R0 R1 C5 R3 R4\nrecv_epr R0 R1 C5 R4")
    assert node.netstack.calls == [("create", 1, 0, None, 6, 7), ("receive", 1, 0, None, 7)]


WRITES = [(30.0, 1), (10.0, 0), (20.0, 2)]


@pytest.mark.parametrize(
    ("wait", "until_ns"),
    [
        ("wait_all @7[0:2]", 30.0),
        ("wait_any @7[0:2]", 10.0),
        ("wait_any @7[1:3]", 20.0),
        ("wait_single @7[2]", 20.0),
        ("wait_all @7[3:3]", 0.0),
        ("wait_any @7[3:3]", 0.0),
    ],
)
def test_waits_end_when_entries_are_written(wait, until_ns):
    node, seen = s.stage(on_breakpoint=lambda n, action, role: seen.append(n.clock.now_ns)), []
    for delay, index in WRITES:
        node.clock.at(delay, lambda index=index: node.app.write(7, index, 5))
    s.play(node, f"set R0 4\narray R0 @7\n{wait}\nbreakpoint 0 0")
    assert seen == [until_ns]


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        ("wait_all @7[0:2]", r"all of array entries @7\[0:2\] \(pairs with Bob\)"),
        ("wait_any @7[0:2]", r"any of array entries @7\[0:2\] \(pairs with Bob\)"),
        ("wait_single @7[1]", r"array entry @7\[1\] \(pairs with Bob\)"),
    ],
)
def test_what_never_comes_is_told(wait, words):
    node = s.stage()
    node.app.awaited[7] = "pairs with Bob"
    with pytest.raises(DeadlockError, match=f"Alice waits for {words}"):
        s.play(node, f"set R0 4\narray R0 @7\n{wait}")


USES = {
    "h Q0": 3,
    "rot_x Q0 1 1": 3,
    "cnot Q0 Q1": 50,
    "cnot Q1 Q0": 50,
    "swp Q0 Q1": 50,
    "mov Q1 Q0": 50,
    "meas Q0 M0": 700,
    "meas_basis Q0 M0 0 0 0 4": 700,
    "init Q0": 2,
    "qfree Q0": 0,
}


@pytest.mark.parametrize("use", USES)
def test_who_uses_a_pending_qubit_waits(use):
    node = s.stage()
    text = s.started(1) + REQUEST + "create_epr R0 R1 R2 R3 R4\nset Q0 0\nset Q1 1\n"
    node.memory.take(3)
    node.clock.at(1000.0, lambda: node.netstack.deliver(node, 0, 3))
    s.play(node, text.replace("store R5 @5[1]", "set C1 1\nstore R6 @5[1]") + use)
    assert node.clock.now_ns == 1000.0 + USES[use]


@pytest.mark.parametrize("use", ["rot_x Q0 1 1", "meas Q0 M0", "crot_x Q0 Q1 1 1", "qfree Q0"])
def test_who_uses_a_pending_qubit_of_an_nv_waits(use):
    node = s.stage(s.NV)
    node.app.mark_pending(0, "half of a pair with Bob")
    assert node.memory.allocate(network=True) == 0
    node.clock.at(1000.0, lambda: node.netstack.deliver(node, 0, 0))
    s.play(node, s.started(1) + f"set Q0 0\nset Q1 1\n{use}")
    assert node.clock.now_ns >= 1000.0


def test_a_pair_that_never_comes_is_told():
    node = s.stage()
    with pytest.raises(DeadlockError, match="at 0 ns: Alice waits for half of a pair with Bob"):
        s.play(node, REQUEST + "create_epr R0 R1 R2 R3 R4\nset Q0 0\nh Q0")


def test_a_qubit_announced_twice_is_awaited_twice():
    node = s.stage()
    node.app.mark_pending(0, "one")
    node.app.mark_pending(0, "two")
    for time_ns, position in ((10.0, 2), (2000.0, 3)):
        node.memory.take(position)
        node.clock.at(time_ns, lambda p=position: node.netstack.deliver(node, 0, p))
    s.play(node, "set Q0 0\nmeas Q0 M0\nqfree Q0\nmeas Q0 M1")
    assert node.clock.now_ns == 2000.0 + 700.0


# Breakpoints, texts, limits


def test_breakpoints_call_the_hook_and_play_its_steps():
    seen = []

    def hook(node, action, role):
        seen.append((node.name, action, role))
        yield Delay(5.0)

    node = s.stage(on_breakpoint=hook)
    assert s.play(node, "breakpoint 2 1") == 5.0
    assert seen == [("Alice", BreakpointAction.DUMP_GLOBAL_STATE, BreakpointRole.RECEIVE)]


def test_breakpoints_are_logged_with_states(caplog):
    node = s.stage()
    with caplog.at_level(logging.INFO):
        s.play(node, s.started(0) + "breakpoint 0 0")
        assert "position" not in caplog.text and "breakpoint NOP at 2 ns" in caplog.text
        s.play(node, "breakpoint 1 0")
    assert "position 0:\n[[1" in caplog.text


def test_lines_are_logged_when_asked_for(caplog):
    with caplog.at_level(logging.DEBUG):
        s.play(s.stage(), "set R0 1")
    assert "line 0: set R0 1" in caplog.text


def test_templates_are_filled_in_before_a_run_and_again():
    code = s.parse(s.started(0) + "set Q0 0\nrot_x Q0 {n} 2\n")
    with pytest.raises(SquidError, match=r"template \{n\} has no value"):
        s.play(s.stage(), code)
    for n in (3, 5):
        node, filled = s.stage(), s.parse(s.started(0) + "set Q0 0\nrot_x Q0 {n} 2\n")
        filled.instantiate(0, {"n": n})
        s.play(node, filled)
        assert np.allclose(s.at(node, 0), by(turn("x", n, 2), np.diag([1, 0])))
    code.instantiate(0, {"n": 1})
    node = s.stage()
    s.play(node, code)
    assert np.allclose(s.at(node, 0), by(turn("x", 1, 2), np.diag([1, 0])))


def test_a_subroutine_is_decoded_once_per_device(monkeypatch):
    code, node = s.parse("set R0 1"), s.stage()
    s.play(node, code)
    monkeypatch.setattr(interpreter, "_makers", None)
    s.play(node, code)
    s.play(s.stage(), code)
    with pytest.raises(TypeError):
        s.play(s.stage(s.NV), code)


def test_a_longer_subroutine_is_decoded_again():
    code, node = s.parse("set R0 1"), s.stage()
    s.play(node, code)
    code.instructions += s.parse("set R1 2").instructions
    s.play(node, code)
    assert s.values(node, "R0", "R1") == [1, 2]

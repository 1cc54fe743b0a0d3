"""What a program does wrong is told with program, node and line, and nothing hangs."""

import re

import pytest

pytest.importorskip("netqasm")

import squid_stage as s
from netqasm.lang.instr import vanilla
from netqasm.lang.operand import Register
from netqasm.lang.subroutine import Subroutine

from backends.squid.errors import LimitError, SquidError

DEVICES = {"generic": s.GENERIC, "nv": s.NV}
both = pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)


WRONG = [
    ("add R0 R1 R2", r"instruction 0 \(add R0 R1 R2\): register R1 has no value"),
    ("set R0 2147483648", "2147483648 does not fit into 32 bits"),
    ("set R0 2147483647\nadd R0 R0 R0", "4294967294 does not fit into 32 bits"),
    ("set R0 -2147483648\nset R1 1\nsub R0 R0 R1", "-2147483649 does not fit"),
    ("set R0 70000\nmul R0 R0 R0", "4900000000 does not fit"),
    ("set R0 7\nset R1 0\ndiv R0 R0 R1", "7 cannot be divided by zero"),
    ("set R0 7\nset R1 0\nrem R0 R0 R1", "7 cannot be divided by zero"),
    ("set R0 7\nset R1 0\naddm R0 R0 R0 R1", "the modulus must be 1 or more, not 0"),
    ("jmp -1", "there is no line -1 to go to: lines are 0 to 1"),
    ("jmp 2", "there is no line 2 to go to: lines are 0 to 1"),
    ("set R0 -1\narray R0 @0", "array @0 cannot have -1 entries"),
    ("set R0 2000000000\narray R0 @0", "at most 10000000"),
    ("set R0 1\nstore R0 @3[0]", "there is no array @3"),
    ("ret_arr @3", "there is no array @3"),
    ("set R0 2\narray R0 @0\nstore R0 @0[2]", r"@0\[2\] is outside the array: 2 entries"),
    ("set R0 2\nset R1 -1\narray R0 @0\nstore R0 @0[R1]", r"@0\[-1\] is outside the array"),
    ("set R0 2\narray R0 @0\nload R1 @0[1]", r"@0\[1\] has no value yet"),
    ("set R0 2\narray R0 @0\nwait_all @0[0:3]", r"@0\[0:3\] is outside the array: 2 entries"),
    ("set R0 2\narray R0 @0\nwait_all @0[2:1]", r"@0\[2:1\] is outside"),
    ("wait_single @0[0]", "there is no array @0"),
    ("ret_reg M1", "register M1 has no value"),
    ("breakpoint 3 0", "breakpoint 3 0: actions are 0"),
    ("set R0 300\nset Q0 0\nqalloc Q0\ninit Q0\nrot_x Q0 1 300", "d from 0 to 255, not 300"),
    ("set Q0 0\nmeas_basis Q0 M0 1 2 3 300", "d from 0 to 255, not 300"),
    ("set Q0 0\nqalloc Q0\nqalloc Q0", "virtual qubit 0 is allocated already"),
    ("set Q0 -1\nqalloc Q0", "numbered from 0, not -1"),
    ("set Q0 0\nmeas Q0 M0", r"instruction 1 \(meas Q0 M0\): virtual qubit 0 is not allocated"),
    ("set Q0 0\ninit Q0", "virtual qubit 0 is not allocated"),
    ("set Q0 0\nqalloc Q0\nmeas Q0 M0", "allocated but not initialised"),
    (s.started(0) + "set Q0 0\nmeas Q0 M0\nqfree Q0\nmeas Q0 M0", r"virtual qubit 0 was freed"),
    (s.started(0) + "set Q0 0\nqfree Q0\nqfree Q0", r"\(qfree Q0\): virtual qubit 0 was freed"),
]


@both
@pytest.mark.parametrize(("text", "words"), WRONG)
def test_errors_name_program_node_and_line(device, text, words):
    with pytest.raises(SquidError) as found:
        s.play(s.stage(device), text)
    assert re.match(r"test on Alice, instruction \d+ \(.+\): ", str(found.value))
    assert re.search(words, str(found.value))


def test_a_gate_needs_two_qubits():
    with pytest.raises(SquidError, match="0 cannot be both qubits of one gate"):
        s.play(s.stage(), s.started(0) + "set Q0 0\nset Q1 0\ncnot Q0 Q1")


@pytest.mark.parametrize(
    ("device", "ids", "words"),
    [
        (s.GENERIC, range(5), "for virtual qubit 4 .4 of 4 positions are taken"),
        (s.NV, range(5), "others need carbons"),
        (s.NV, range(1, 5), "for virtual qubit 4 .3 of 4 positions are taken; virtual qubit 0"),
    ],
)
def test_too_many_qubits(device, ids, words):
    with pytest.raises(LimitError, match=f"too many qubits: no position is free .*{words}"):
        s.play(s.stage(device), s.started(*ids))


def test_the_line_of_the_host_program_is_told():
    code = s.parse("ret_reg M1")
    code.instructions[0].lineno = type("HostLine", (), {"filename": "app.py", "lineno": 12})()
    with pytest.raises(SquidError, match=r"\(ret_reg M1\) from app.py:12: register M1"):
        s.play(s.stage(), code)


def test_nv_devices_refuse_gates_of_others():
    node = s.stage(s.NV)
    code = Subroutine([vanilla.GateHInstruction(reg=Register.from_str("Q0"))])
    with pytest.raises(
        SquidError, match=r"^test on Alice, instruction 0 \(h Q0\): not an instruction of NV"
    ):
        s.play(node, code)


def test_an_endless_loop_ends():
    with pytest.raises(
        LimitError, match=r"^test on Alice, instruction 0 \(jmp 0\): more than 50 instructions"
    ):
        s.play(s.stage(most_instructions=50), "LOOP:\njmp LOOP")

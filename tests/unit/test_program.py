"""Programs are checked before anything runs, and the message names the step."""

import math

import numpy as np
import pytest

from quantum.batch import stack
from quantum.errors import InputError
from quantum.program import (
    Distill,
    Gates,
    Generate,
    Measure,
    Memory,
    Merge,
    Program,
    Step,
    Swap,
    Wait,
    check,
)

PHI = (1.0, 0.0, 0.0, 0.0)


def program(*steps: Step) -> Program:
    return Program(steps)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((), "exactly one pair"),
        ((Generate(0, PHI), Generate(1, PHI)), "exactly one pair, this one has 2"),
        ((Generate(0, PHI), Generate(0, PHI)), r"steps\[1\] generate: pair 0 was already"),
        ((Generate(0, (0.5, 0.5, 0.5, 0.5)),), "must sum to 1"),
        ((Generate(0, (math.nan, 0.0, 0.0, 1.0)),), "four weights >= 0"),
        ((Generate(0, PHI), Wait(0, -1.0, 0.0)), "waits must be finite and >= 0 s"),
        ((Generate(0, PHI), Wait(0, 0.0, math.inf)), "waits must be finite"),
        ((Generate(0, PHI), Wait(1, 0.0, 0.0)), r"steps\[1\] wait: pair 1 does not exist"),
        ((Generate(0, PHI), Swap(0, 0)), "two different pairs"),
        ((Generate(0, PHI), Distill(0, 1, "dejmps")), "pair 1 does not exist"),
        ((Generate(0, PHI), Measure(0, "xx"), Wait(0, 0.0, 0.0)), "must be the last step"),
        ((Generate(0, PHI), Measure(0, "xx", shots=0)), "shots must be a whole number >= 1"),
    ],
)
def test_bad_programs_are_refused(steps: tuple[Step, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check(program(*steps))


@pytest.mark.parametrize(
    ("memory", "gates", "says"),
    [
        (Memory(t1_s=1.0, t2_s=2.5), Gates(), "t2_s must be <= 2 t1_s"),
        (Memory(t1_s=-1.0), Gates(), "t1_s must be > 0"),
        (Memory(t1_s=math.nan), Gates(), "t1_s must be > 0"),
        (Memory(), Gates(readout_error=1.5), "readout_error must be between 0 and 1"),
        (Memory(), Gates(success=math.nan), "success must be between 0 and 1"),
    ],
)
def test_impossible_hardware_is_refused(memory: Memory, gates: Gates, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check(Program((Generate(0, PHI),), memory, gates))


def test_programs_of_one_skeleton_are_stacked_in_order() -> None:
    chain = (Generate(0, PHI), Wait(0, 0.1, 0.2), Generate(1, PHI), Swap(0, 1))
    programs = [
        program(*chain),
        program(Generate(0, PHI), Measure(0, "zz")),
        program(Generate(0, PHI), Wait(0, 0.3, 0.4), Generate(1, PHI), Swap(0, 1)),
        program(Generate(0, (0.7, 0.1, 0.1, 0.1))),
    ]
    (first, chains), (second, pairs) = stack(programs)
    assert first.tolist() == [0, 2]
    assert second.tolist() == [1, 3]  # a measurement is not part of the skeleton
    assert np.array_equal(chains.waits_s[:, 0], [[0.1, 0.2], [0.3, 0.4]])
    assert chains.populations.shape == (2, 2, 4)
    assert pairs.populations[1, 0, 0] == 0.7
    assert chains.last_pair == pairs.last_pair == 0


def test_hardware_separates_batches() -> None:
    steps = (Generate(0, PHI),)
    both = [Program(steps), Program(steps, Memory(t1_s=1.0, t2_s=1.0))]
    assert len(stack(both)) == 2


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (Program((Generate(0, PHI), Measure(0, "qq"))), "basis must be xx, yy, zz or random"),
        (Program((Generate(0, PHI), Measure(0, "xx", 1.5))), "shots must be a whole number"),
        (Program((Generate(0, PHI), Measure(0, "xx", True))), "shots must be a whole number"),
        (Program((Generate(0, PHI), Generate(1, PHI), Merge(0, 1, "middle"))), "at must be"),
        (Program((Generate(0, PHI), Generate(1, PHI), Distill(0, 1, "x"))), "protocol must be"),
        (Program((Generate(0, PHI), "swap")), r"steps\[1\] str: is no step"),
        (Program((Generate(0, PHI), None)), r"steps\[1\] nonetype: is no step"),
        (Program((Generate(0, PHI),), memory=Memory(t1_s="a")), "a value of a wrong kind"),
        (Program((Generate(0, PHI),), gates=Gates(success=None)), "a value of a wrong kind"),
        (Program((Generate(0, PHI), Wait(0, "a", 0.0))), "a value of a wrong kind"),
        (Program((Generate(0, "abc"),)), "a value of a wrong kind|four weights"),
    ],
)
def test_values_of_a_wrong_kind_are_refused(program, message):
    with pytest.raises(InputError, match=message):
        check(program)

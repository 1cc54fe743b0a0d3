"""A program as an ordinary Qiskit circuit, for eyes and for a stock ``AerSimulator``.

Every pair has two qubits of its own; nothing is re-used, folded or deferred: sources, waits, gates,
mid-circuit measurements and the corrections they control stand where they happen, and noise is a
labelled instruction. Sampled shot by shot, the circuit has the statistics of the program, at ten
thousand times the cost (:mod:`backends.aer.direct` is the fast way).
"""

from dataclasses import dataclass, field
from typing import Any

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister

from backends.aer import circuit_noise as noise
from quantum import ghz
from quantum.counts import Tally
from quantum.errors import InputError
from quantum.program import (
    Distill,
    Generate,
    Load,
    Measure,
    Merge,
    Program,
    Swap,
    Wait,
    check,
)

__all__ = ["MOST_PAIRS", "Reading", "circuit_of", "read_counts"]

#: More than this no screen shows.
MOST_PAIRS = 64

Qubits = list[Any]


@dataclass(frozen=True)
class Reading:
    """Shots of a circuit: tests of what all heralds accepted, and the number of other shots."""

    test: Tally
    refused: int


def circuit_of(program: Program, basis: str | None = None) -> QuantumCircuit:
    """Return the circuit of a program, with a test of one stabilizer at its end.

    ``basis`` is a label of :func:`quantum.ghz.labels`; by default that of the program, or for a
    random one ``zz`` for a pair and ``x...x`` for a register. Classical registers are ``swap0``,
    ``swap1``, ... (bit 0 decides Z, bit 1 decides X), ``merge0``, ..., ``herald0``, ... and
    ``test``. Shots that a herald refuses are not ended but marked: see :func:`read_counts`. The
    heralded ``gates.success`` of swaps and merges is not part of the circuit.
    """
    check(program)
    pairs = sum(isinstance(step, Generate | Load) for step in program.steps)
    if pairs > MOST_PAIRS:
        raise InputError(f"a circuit can have at most {MOST_PAIRS} pairs, this program has {pairs}")
    writer = _Writer(program)
    for step in program.steps:
        writer.put(step)
    (qubits,) = writer.alive.values()
    writer.test(qubits, _basis(program, basis, len(qubits)))
    return writer.circuit


def read_counts(circuit: QuantumCircuit, counts: dict[str, int]) -> Reading:
    """Read the counts that a simulator returns for a circuit of :func:`circuit_of`.

    ``counts`` has keys as in ``result.get_counts()``: registers apart, the last one first.
    """
    passed = failed = refused = 0
    for key, shots in counts.items():
        names = [register.name for register in circuit.cregs]
        bits = dict(zip(names, key.split()[::-1], strict=True))
        if not all(
            bits[name] == "11" if rule == "ones" else bits[name] in ("00", "11")
            for name, rule in circuit.metadata["heralds"].items()
        ):
            refused += shots
        elif (bits["test"].count("1") % 2 == 0) == (circuit.metadata["sign"] > 0):
            passed += shots
        else:
            failed += shots
    return Reading(Tally(passed, failed), refused)


def _basis(program: Program, asked: str | None, qubits: int) -> str:
    known = ghz.labels(qubits)
    test = program.measure
    if asked is None and test is not None and test.basis != "random":
        return test.basis
    label = asked or ("zz" if qubits == 2 else known[0])
    if label not in known:
        shown = ", ".join(known[:7]) + (", ..." if len(known) > 7 else "")
        raise InputError(f"basis must be a stabilizer of {qubits} qubits ({shown}), got {label!r}")
    return label


@dataclass
class _Writer:
    """Writes steps into a circuit; ``alive`` has the qubits of each pair and register."""

    program: Program
    circuit: QuantumCircuit = field(init=False)
    alive: dict[int, Qubits] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.circuit = QuantumCircuit(metadata={"heralds": {}, "basis": "", "sign": 1})

    def put(self, step: Any) -> None:
        match step:
            case Generate(pair, populations):
                left, right = self.new_pair(pair)
                self.circuit.h(left)
                self.circuit.cx(left, right)
                if populations[0] < 1.0:
                    self.circuit.append(noise.source_errors(populations), [right])
            case Load(pair, expectations):
                self.circuit.append(noise.loaded(expectations), self.new_pair(pair))
            case Wait(pair):
                self.wait(step, self.alive[pair])
            case Distill(keep, spend, protocol):
                self.distil(protocol, self.alive[keep], self.alive.pop(spend))
            case Swap(left, right):
                self.alive[left] = self.swap(self.alive[left], self.alive.pop(right))
            case Merge(keep, spend, at):
                node = self.alive[keep][0 if at == "first" else -1]
                self.alive[keep] += self.merge(node, self.alive.pop(spend))
            case Measure():
                pass

    def new_pair(self, number: int) -> Qubits:
        register = QuantumRegister(2, f"pair{number}")
        self.circuit.add_register(register)
        self.alive[number] = list(register)
        return self.alive[number]

    def bits(self, kind: str, size: int) -> Any:
        number = self.made.get(kind, 0)
        self.made[kind] = number + 1
        register = ClassicalRegister(size, kind if kind == "test" else f"{kind}{number}")
        self.circuit.add_register(register)
        return register

    def wait(self, step: Wait, qubits: Qubits) -> None:
        memory = self.program.memory
        for place, qubit in enumerate(qubits):
            seconds = step.left_s if place == 0 else step.right_s
            attempts = step.left_attempts if place == 0 else step.right_attempts
            if seconds > 0.0:
                self.circuit.delay(seconds, qubit, "s")
                if min(memory.t1_s, memory.t2_s) < float("inf"):
                    self.circuit.append(noise.relaxation(memory, seconds), [qubit])
            if attempts / memory.attempts_1e > 0.0:
                self.circuit.append(noise.disturbed(memory, attempts), [qubit])

    def gate(self, control: Any, target: Any) -> None:
        self.circuit.cx(control, target)
        if self.program.gates.gate_depolarizing > 0.0:
            weight = self.program.gates.gate_depolarizing
            self.circuit.append(noise.depolarizing(weight), [control, target])

    def read(self, qubit: Any, bit: Any) -> None:
        if self.program.gates.readout_error > 0.0:
            self.circuit.append(noise.flip(self.program.gates.readout_error), [qubit])
        self.circuit.measure(qubit, bit)

    def swap(self, left: Qubits, right: Qubits) -> Qubits:
        """Measure the inner qubits in the Bell basis, correct the outer right one."""
        self.gate(left[1], right[0])
        self.circuit.h(left[1])
        bits = self.bits("swap", 2)
        self.read(left[1], bits[0])
        self.read(right[0], bits[1])
        with self.circuit.if_test((bits[1], 1), label="X"):
            self.circuit.x(right[1])
        with self.circuit.if_test((bits[0], 1), label="Z"):
            self.circuit.z(right[1])
        return [left[0], right[1]]

    def merge(self, node: Any, spend: Qubits) -> Qubits:
        """Measure the first qubit of ``spend`` after a CNOT from the node, flip the others."""
        measured, *others = spend
        self.gate(node, measured)
        bits = self.bits("merge", 1)
        self.read(measured, bits[0])
        with self.circuit.if_test((bits[0], 1), label="X"):
            for qubit in others:
                self.circuit.x(qubit)
        return others

    def distil(self, protocol: str, keep: Qubits, spend: Qubits) -> None:
        """Compare the bits of the spent pair: equal (DEJMPS, BBPSSW) or both 1 (EPL)."""
        if protocol == "bbpssw":
            for pair in (keep, spend):
                self.circuit.append(noise.twirl(), pair)
        if protocol == "dejmps":
            for quarter, place in ((1.0, 0), (-1.0, 1)):
                for pair in (keep, spend):
                    self.circuit.rx(quarter * 1.5707963267948966, pair[place])
        for place in (0, 1):
            self.gate(keep[place], spend[place])
        bits = self.bits("herald", 2)
        for place in (0, 1):
            self.read(spend[place], bits[place])
        rule = "ones" if protocol == "epl" else "equal"
        self.circuit.metadata["heralds"][bits.name] = rule

    def test(self, qubits: Qubits, label: str) -> None:
        """Measure a stabilizer, letter by letter, without errors."""
        letters = [(qubit, letter) for qubit, letter in zip(qubits, label, strict=True)]
        measured = [qubit for qubit, letter in letters if letter != "i"]
        for qubit, letter in letters:
            if letter == "y":
                self.circuit.sdg(qubit)
            if letter in "xy":
                self.circuit.h(qubit)
        self.circuit.measure(measured, list(self.bits("test", len(measured))))
        # Y (x) Y is -1 on phi_plus: each two Y in a stabilizer of a GHZ state cost a sign.
        sign = -1 if label.count("y") % 4 == 2 else 1
        self.circuit.metadata.update(basis=label, sign=sign)

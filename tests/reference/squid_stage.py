"""A stage for NetQASM programs: one node, a plain engine, and a network stack that obeys the test.

The engine keeps a single density matrix of all qubits and knows no tricks, so it is slow and easy
to check.
"""

import dense
import numpy as np
from netqasm.lang.instr.flavour import NVFlavour, VanillaFlavour
from netqasm.lang.parsing.text import parse_text_subroutine

from backends.squid.appmemory import AppMemory
from backends.squid.clock import Clock
from backends.squid.interpreter import run_subroutine
from backends.squid.memory import QuantumMemory
from backends.squid.nodecontext import NodeContext
from backends.squid.setting import Generic, Nv

#: Devices without noise and decay whose durations are all different.
GENERIC = Generic(
    qubits=4,
    t1_ns=0.0,
    t2_ns=0.0,
    init_ns=2.0,
    single_ns=3.0,
    two_ns=50.0,
    measure_ns=700.0,
    single_depolar=0.0,
    two_depolar=0.0,
)
NV = Nv(
    qubits=4,
    electron_init_depolar=0.0,
    electron_single_depolar=0.0,
    flip_0=0.0,
    flip_1=0.0,
    carbon_init_depolar=0.0,
    carbon_z_depolar=0.0,
    ec_depolar=0.0,
    electron_t1_ns=0.0,
    electron_t2_ns=0.0,
    carbon_t1_ns=0.0,
    carbon_t2_ns=0.0,
    carbon_init_ns=11.0,
    carbon_x_ns=130.0,
    carbon_y_ns=170.0,
    carbon_z_ns=190.0,
    electron_init_ns=23.0,
    electron_x_ns=2.0,
    electron_y_ns=3.0,
    electron_z_ns=5.0,
    ec_x_ns=2900.0,
    ec_y_ns=3100.0,
    measure_ns=37.0,
)


class PlainEngine:
    """One density matrix, the first qubit the most significant."""

    name = "plain"

    def __init__(self):
        self.order, self.rho, self.made = [], np.ones((1, 1), dtype=complex), 0

    def _add(self, state):
        new = list(range(self.made, self.made + dense.qubits_of(state)))
        self.made += len(new)
        self.order += new
        self.rho = np.kron(self.rho, state)
        return new

    def _places(self, qubits):
        return [self.order.index(q) for q in qubits]

    def new(self):
        return self._add(np.diag([1.0, 0.0]))[0]

    def pair(self, state):
        return tuple(self._add(np.asarray(state)))

    def unitary(self, matrix, *qubits):
        self.rho = dense.apply(self.rho, [matrix], self._places(qubits))

    def channel(self, superoperator, *qubits):
        d = 2 ** len(qubits)
        # Choi's theorem: eigenvectors of the reshuffled superoperator are Kraus operators.
        choi = superoperator.reshape(d, d, d, d).transpose(0, 2, 1, 3).reshape(d * d, d * d)
        weights, vectors = np.linalg.eigh(choi)
        assert weights.min() > -1e-9
        kraus = [
            np.sqrt(w) * v.reshape(d, d) for w, v in zip(weights, vectors.T, strict=True) if w > 0
        ]
        assert np.allclose(sum(k.conj().T @ k for k in kraus), np.eye(d))
        self.rho = dense.apply(self.rho, kraus, self._places(qubits))

    def chance(self, qubit, kraus):
        return float(np.trace(dense.apply(self.rho, [kraus], self._places([qubit]))).real)

    def measure(self, qubit, draw, kraus):
        outcome = 0 if draw < self.chance(qubit, kraus[0]) else 1
        self.rho = dense.apply(self.rho, [kraus[outcome]], self._places([qubit]))
        self.rho = self.rho / np.trace(self.rho)
        return outcome

    def discard(self, qubit):
        kept = [q for q in self.order if q != qubit]
        self.rho, self.order = self.state(kept), kept

    def state(self, qubits):
        n, k = len(self.order), len(qubits)
        first = self._places(qubits)
        order = [*first, *(p for p in range(n) if p not in first)]
        split = self.rho.reshape([2] * 2 * n).transpose([*order, *(n + p for p in order)])
        split = split.reshape(2**k, 2 ** (n - k), 2**k, 2 ** (n - k))
        return np.einsum("aibi->ab", split)

    def entangled_with(self, qubit):
        return tuple(self.order)


class Draws:
    """Random numbers that a test decides."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


class Stack:
    """Remembers requests, announces their qubits, and delivers phi_plus when told to."""

    def __init__(self):
        self.calls, self.far = [], []

    def create(self, app, *numbers):
        self.calls.append(("create", *numbers))
        self._announce(app, numbers[2])

    def receive(self, app, *numbers):
        self.calls.append(("receive", *numbers))
        self._announce(app, numbers[2])

    def _announce(self, app, qubit_array):
        for virtual_id in app.arrays.get(qubit_array, ()):
            app.mark_pending(virtual_id, "half of a pair with Bob")

    def deliver(self, node, virtual_id, position, state=None):
        phi_plus = np.outer(dense.BELL[0], dense.BELL[0])
        near, far = node.memory.engine.pair(phi_plus if state is None else state)
        self.far.append(far)
        node.memory.put(position, near)
        node.app.map(virtual_id, position)


def stage(device=GENERIC, draws=(0.5,), **more):
    """Return a node called Alice that runs a program called "test"."""
    clock = Clock()
    rng = Draws(*draws)
    return NodeContext(
        name="Alice",
        node_id=0,
        clock=clock,
        memory=QuantumMemory(clock, PlainEngine(), device, rng),
        app=AppMemory(clock),
        netstack=Stack(),
        rng=rng,
        program="test",
        **more,
    )


def parse(text, flavour=VanillaFlavour):
    return parse_text_subroutine(f"# NETQASM 1.0\n# APPID 0\n{text}", flavour=flavour())


def play(node, text):
    """Run a subroutine to its end; return how long it took."""
    flavour = NVFlavour if isinstance(node.memory.device, Nv) else VanillaFlavour
    start = node.clock.now_ns
    subroutine = parse(text, flavour) if isinstance(text, str) else text
    node.clock.start("Alice", run_subroutine(subroutine, node))
    node.clock.run()
    return node.clock.now_ns - start


def started(*virtual_ids):
    """Return the text that allocates virtual qubits; Q3 is lost."""
    return "".join(f"set Q3 {v}\nqalloc Q3\ninit Q3\n" for v in virtual_ids)


def at(node, *virtual_ids):
    """Return the state of virtual qubits."""
    return node.memory.state([node.app.positions[v] for v in virtual_ids])


def values(node, *names):
    return [node.app.get_register(name) for name in names]

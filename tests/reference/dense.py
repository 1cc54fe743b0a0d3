"""An independent reference for backends: textbook quantum mechanics on density matrices.

Written for clarity only: Kraus operators, explicit projectors and corrections, big-endian. Backends
keep Pauli tensors (analytic) or column-stacked superoperators on re-used qubits (Aer), so that a
common mistake is unlikely. It takes from the package nothing but the names of a batch's arrays.
"""

import itertools

import numpy as np

ONE = np.eye(2, dtype=complex)
X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1.0, -1.0]).astype(complex)
PAULIS = (ONE, X, Y, Z)
CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)

#: phi_plus, phi_minus, psi_plus, psi_minus.
BELL = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) / np.sqrt(2)


def qubits_of(rho):
    return len(rho).bit_length() - 1


def apply(rho, kraus, qubits):
    """Apply a channel on some of the qubits; the first of a register is the most significant."""
    n, k = qubits_of(rho), len(qubits)
    order = [*qubits, *(q for q in range(n) if q not in qubits)]
    there = [*order, *(n + q for q in order)]
    split = rho.reshape([2] * (2 * n)).transpose(there).reshape(2**k, 2 ** (n - k), 2**k, -1)
    out = np.zeros_like(split)
    for operator in kraus:
        half = np.tensordot(operator, split, (1, 0))
        out += np.tensordot(half, operator.conj(), (2, 1)).swapaxes(2, 3)
    return out.reshape([2] * (2 * n)).transpose(np.argsort(there)).reshape(2**n, 2**n)


def project(rho, qubit, bit):
    """The part where a measurement in Z gives this bit, without the measured qubit."""
    n = qubits_of(rho)
    split = rho.reshape(2**qubit, 2, 2 ** (n - qubit - 1), 2**qubit, 2, 2 ** (n - qubit - 1))
    return split[:, bit, :, :, bit, :].reshape(2 ** (n - 1), 2 ** (n - 1))


def relax(seconds, attempts, memory):
    """Amplitude damping, then the pure dephasing that is left of T2 and that of attempts."""
    g = 1 - np.exp(-seconds / memory.t1_s)
    # exp(-t/T2) = sqrt(1-g) (1 - 2 flip), computed without 0/0 for long waits
    left = np.exp(-seconds / memory.t2_s + seconds / (2 * memory.t1_s))
    left *= np.exp(-attempts / memory.attempts_1e)
    flip = (1 - left) / 2
    damping = [np.diag([1, np.sqrt(1 - g)]), np.array([[0, np.sqrt(g)], [0, 0]])]
    dephasing = [np.sqrt(1 - flip) * ONE, np.sqrt(flip) * Z]
    return [b @ a for a in damping for b in dephasing]


def depolarize(p):
    pairs = [np.kron(a, b) for a in PAULIS for b in PAULIS]
    weights = [p / 16.0] * 16
    weights[0] += 1 - p
    return [np.sqrt(w) * m for w, m in zip(weights, pairs, strict=True)]


def misread(e):
    return [np.sqrt(1 - e) * ONE, np.sqrt(e) * X]


def bell_diagonal(weights):
    return sum(w * np.outer(b, b) for w, b in zip(weights, BELL, strict=True)) + 0j


def state(expectations):
    """The two-qubit state with these sixteen Pauli expectations."""
    table = np.reshape(expectations, (4, 4))
    both = itertools.product(range(4), repeat=2)
    return sum(table[a, b] * np.kron(PAULIS[a], PAULIS[b]) for a, b in both) / 4


def expectations(rho):
    """The sixteen Pauli expectations of a two-qubit state, ``(4, 4)``."""
    return np.array([[np.trace(rho @ np.kron(a, b)).real for b in PAULIS] for a in PAULIS])


def wait(rho, seconds, attempts, memory):
    """The first time is that of the first qubit, the second one that of all others."""
    for qubit in range(qubits_of(rho)):
        end = min(qubit, 1)
        rho = apply(rho, relax(seconds[end], attempts[end], memory), (qubit,))
    return rho


def swap(a, b, gates):
    """Measure qubits 1 and 2 in the Bell basis, correct qubit 3 by what the detectors report."""
    rho = apply(np.kron(a, b), depolarize(gates.gate_depolarizing), (1, 2))
    e = gates.readout_error
    out = np.zeros((4, 4), dtype=complex)
    for z, x in itertools.product((0, 1), repeat=2):
        # BELL[z + 2x] is (Z^z X^x) phi_plus
        onto = np.kron(np.kron(ONE, BELL[z + 2 * x].conj()[None, :]), ONE)
        after = onto @ rho @ onto.conj().T
        for wrong_z, wrong_x in itertools.product((0, 1), repeat=2):
            chance = (e if wrong_z else 1 - e) * (e if wrong_x else 1 - e)
            fix = np.linalg.matrix_power(Z, z ^ wrong_z) @ np.linalg.matrix_power(X, x ^ wrong_x)
            out += chance * apply(after, [fix], (1,))
    return out


def distill(keep, spend, protocol, gates):
    """Return (state given the herald, chance of the herald) from the bits that are reported."""
    if protocol == "bbpssw":
        keep, spend = twirl(keep), twirl(spend)
    rho = np.kron(keep, spend)
    if protocol == "dejmps":
        for qubit, sign in ((0, 1), (2, 1), (1, -1), (3, -1)):
            rho = apply(rho, [(ONE - sign * 1j * X) / np.sqrt(2)], (qubit,))
    for control, target in ((0, 2), (1, 3)):
        rho = apply(rho, [CNOT], (control, target))
        rho = apply(rho, depolarize(gates.gate_depolarizing), (control, target))
    for target in (2, 3):
        rho = apply(rho, misread(gates.readout_error), (target,))
    accepted = ((1, 1),) if protocol == "epl" else ((0, 0), (1, 1))
    kept = sum(project(project(rho, 3, right), 2, left) for left, right in accepted)
    chance = np.trace(kept).real
    if chance < 1e-12:
        return np.eye(4, dtype=complex) / 4, 0.0
    return kept / chance, chance


def twirl(rho):
    """Werner's state of the same fidelity."""
    f = (BELL[0].conj() @ rho @ BELL[0]).real
    return bell_diagonal((f, *[(1 - f) / 3] * 3))


def merge(keep, spend, at, gates):
    """CNOT from ``keep`` to the first qubit of ``spend``, whose bit, as reported, flips the others.

    The measured qubit leaves; the others of ``spend`` follow those of ``keep``.
    """
    size, total = qubits_of(keep), qubits_of(keep) + qubits_of(spend)
    control = 0 if at == "first" else size - 1
    rho = apply(np.kron(keep, spend), [CNOT], (control, size))
    rho = apply(rho, depolarize(gates.gate_depolarizing), (control, size))
    rho = apply(rho, misread(gates.readout_error), (size,))
    flipped = project(rho, size, 1)
    for qubit in range(size, total - 1):
        flipped = apply(flipped, [X], (qubit,))
    return project(rho, size, 0) + flipped


def ghz_basis(n):
    """The vectors (|0 b> + (-1)^s |1 not b>) / sqrt(2) in the order 2 b + s."""
    vectors = []
    for bits in itertools.product((0, 1), repeat=n - 1):
        for sign in (1, -1):
            vector = np.zeros([2] * n)
            vector[(0, *bits)] = 1
            vector[(1, *(1 - bit for bit in bits))] = sign
            vectors.append(vector.ravel() / np.sqrt(2))
    return np.array(vectors)


def run(batch, index):
    """Run one program of a batch: (populations, success)."""
    rho, success = end_state(batch, index)
    return np.array([(v @ rho @ v).real for v in ghz_basis(qubits_of(rho))]), success


def chances_at(rho, left_rad, right_rad):
    """The chances of 00, 01, 10, 11 of a pair measured in cos t Z + sin t X, by projectors."""
    sides = [
        [(ONE + sign * (np.cos(t) * Z + np.sin(t) * X)) / 2 for sign in (1, -1)]
        for t in (left_rad, right_rad)
    ]
    return np.array([np.trace(np.kron(a, b) @ rho).real for a in sides[0] for b in sides[1]])


def end_state(batch, index):
    """Run one program of a batch: (density matrix of what is left, success)."""
    fresh, loaded = iter(batch.populations[index]), iter(batch.states[index])
    waits = zip(batch.waits_s[index], batch.attempts[index], strict=True)
    states, success = {}, 1.0
    for kind, first, second in batch.skeleton:
        if kind == "generate":
            states[first] = bell_diagonal(next(fresh))
        elif kind == "load":
            states[first] = state(next(loaded))
        elif kind == "wait":
            states[first] = wait(states[first], *next(waits), batch.memory)
        elif kind == "swap":
            states[first] = swap(states[first], states.pop(second), batch.gates)
            success *= batch.gates.success
        elif kind in ("merge_first", "merge_last"):
            at = kind.removeprefix("merge_")
            states[first] = merge(states[first], states.pop(second), at, batch.gates)
            success *= batch.gates.success
        else:
            states[first], chance = distill(states[first], states.pop(second), kind, batch.gates)
            success *= chance
    (rho,) = states.values()
    return rho, success

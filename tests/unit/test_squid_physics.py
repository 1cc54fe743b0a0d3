"""Applications against closed forms, exactly: every course of outcomes is played."""

import math
from dataclasses import replace

import numpy as np
import pytest
from netqasm.sdk import Qubit
from netqasm.sdk.epr_socket import EprMeasBasis
from squid_plays import EXACT, network, play

from backends.squid.clock import Delay, Until
from backends.squid.engines.branches import branches
from backends.squid.run import Simulation
from backends.squid.setting import Depolarise, Generic, Nv
from backends.squid.standin.routines import create_ghz
from quantum import bell, ghz, werner
from quantum.program import Memory

CLOSE = 1e-9
PI = math.pi
PHI_PLUS = np.array([1, 0, 0, 1]) / math.sqrt(2)


def werner_link(fidelity):
    return Depolarise(fidelity=fidelity, t_cycle_ns=0.0)


def weight(fidelity):
    """What a depolarised link leaves of each correlator."""
    return (4.0 * fidelity - 1.0) / 3.0


def courses(bodies, net):
    """All courses of an application: (chance, results by node, state of the qubits that are left).

    A body returns its result and the qubit that it keeps, or None; the state is that of the moments
    at which the bodies end.
    """

    def course(draws):
        simulation, ended, states, waiting = Simulation(), {}, [], {}

        def wrapped(name, body):
            def run(context):
                result, qubit = yield from body(context)
                ended[name] = None if qubit is None else simulation.qubit(name, qubit.qubit_id)
                if len(ended) < len(bodies):
                    yield Until(waiting.setdefault("all", simulation.clock.signal()), "the others")
                else:
                    kept = [ended[node] for node in bodies if ended[node] is not None]
                    states.append(simulation.state(kept))
                    waiting["all"].give()
                return result

            return run

        told = {name: wrapped(name, body) for name, body in bodies.items()}
        return [runs[0] for runs in play(told, net, simulation=simulation, rng=draws)], states[0]

    return [(each.probability, *each.result) for each in branches(course)]


def chance_of(found, condition):
    return sum(chance for chance, results, _ in found if condition(*results))


def fidelity(found, vector):
    """The mean fidelity of what is left to a pure state."""
    return sum(chance * (vector.conj() @ state @ vector).real for chance, _, state in found)


def correct(qubit, z, x):
    if x:
        qubit.X()
    if z:
        qubit.Z()


# Teleportation

#: (theta, phi) in units of pi/2: |0>, |1>, |+>, |->, |i>, |-i>.
SIX_STATES = ((0, 0), (2, 0), (1, 0), (1, 2), (1, 1), (1, 3))


def teleported(net, theta, phi, *, half_first=False):
    """The fidelity of a state that Alice teleports to Bob; she may measure her half first."""

    def sender(context):
        qubit = Qubit(context.connection)
        qubit.rot_Y(n=theta, d=1)
        qubit.rot_Z(n=phi, d=1)
        (half,) = context.epr_sockets["Bob"].create_keep()
        qubit.cnot(half)
        if half_first:
            x = half.measure()
        qubit.H()
        z = qubit.measure()
        if not half_first:
            x = half.measure()
        yield from context.connection.flush()
        context.csockets["Bob"].send((int(z), int(x)))
        return None, None

    def receiver(context):
        (half,) = context.epr_sockets["Alice"].recv_keep()
        yield from context.connection.flush()
        correct(half, *(yield from context.csockets["Alice"].recv()))
        yield from context.connection.flush()
        return None, half

    a, b = theta * PI / 4, phi * PI / 2
    vector = np.array([math.cos(a), np.exp(1j * b) * math.sin(a)])
    return fidelity(courses({"Alice": sender, "Bob": receiver}, net), vector)


def mean_teleported(net, *, half_first):
    found = [teleported(net, *state, half_first=half_first) for state in SIX_STATES]
    return sum(found) / len(found)


@pytest.mark.parametrize("link", [1.0, 0.8, 0.25])
def test_teleportation_over_a_werner_pair(link):
    """Horodecki, Phys. Rev. A 60, 1888 (1999): (2F + 1) / 3, here for every state."""
    for state in SIX_STATES:
        found = teleported(network(link=werner_link(link)), *state)
        assert found == pytest.approx((2.0 * link + 1.0) / 3.0, abs=CLOSE)


#: The setting of Fig. 11a of the NetQASM paper (arXiv:2111.09823), whose gate errors are swept. A
#: pair takes 100 cycles of 10 us on average there and always here.
PAPER = Nv(
    qubits=3, electron_init_depolar=0.05, flip_0=0.05, flip_1=0.005, carbon_init_depolar=0.05,
    carbon_z_depolar=0.001, electron_t1_ns=3.6e12, electron_t2_ns=1.46e9, carbon_t1_ns=3.6e13,
    carbon_t2_ns=1e9, carbon_z_ns=5.0,
)  # fmt: skip
#: Mean fidelities in the paper's published data, with standard errors of 0.001 to 0.002, for gate
#: errors from 0 to 0.15 in equal steps; whether the half of the pair is measured first.
FIG_11A = {
    True: (0.811, 0.781, 0.754, 0.731, 0.708, 0.687, 0.669, 0.652, 0.636, 0.623),
    False: (0.810, 0.764, 0.722, 0.689, 0.660, 0.636, 0.615, 0.598, 0.583, 0.570),
}


@pytest.mark.parametrize("half_first", [True, False])
def test_teleportation_of_nv_centres_against_gate_errors(half_first):
    link = Depolarise(fidelity=0.8, t_cycle_ns=1e6)
    for step, published in enumerate(FIG_11A[half_first]):
        device = replace(PAPER, ec_depolar=0.15 * step / 9)
        found = mean_teleported(network(link=link, device=device, delay=1e6), half_first=half_first)
        assert found == pytest.approx(published, abs=0.003)


#: How often Z, X and Y meet a depolarised qubit on their way back from Bob's qubit to Alice's input
#: (in the Heisenberg picture): 3, 2 and 3 times in the move of the input to a carbon, 1, 1 and 2
#: times in the CNOT, and where the carbon's outcome matters (X, Y) 3 times as it is fetched. A half
#: that is measured last is stored and fetched on its way, where its outcome matters (Z, Y).
MET = {True: (4, 6, 8), False: (10, 6, 14)}


@pytest.mark.parametrize("half_first", [True, False])
@pytest.mark.parametrize("error", [0.02, 0.3])
def test_gate_errors_alone_cost_each_axis_a_power(half_first, error):
    device = replace(
        PAPER, electron_init_depolar=0.0, flip_0=0.0, flip_1=0.0, carbon_init_depolar=0.0,
        carbon_z_depolar=0.0, electron_t1_ns=0.0, electron_t2_ns=0.0, carbon_t1_ns=0.0,
        carbon_t2_ns=0.0, ec_depolar=error,
    )  # fmt: skip
    kept = sum((1.0 - error) ** met for met in MET[half_first]) / 3.0
    found = mean_teleported(network(link=werner_link(0.9), device=device), half_first=half_first)
    assert found == pytest.approx((1.0 + weight(0.9) * kept) / 2.0, abs=CLOSE)


# Repeaters


def keeping(peer, verb, corrected=False):
    def body(context):
        (half,) = getattr(context.epr_sockets[peer], f"{verb}_keep")()
        yield from context.connection.flush()
        if corrected:
            correct(half, *(yield from context.csockets[peer].recv()))
            yield from context.connection.flush()
        return None, half

    return body


def test_swapping_multiplies_correlators():
    """Briegel et al., Phys. Rev. Lett. 81, 5932 (1998)."""
    net = network("Alice Bob Carol")
    first, _, second = net.links
    links = replace(first, model=werner_link(0.9)), replace(second, model=werner_link(0.75))

    def middle(context):
        (left,) = context.epr_sockets["Alice"].recv_keep()
        (right,) = context.epr_sockets["Carol"].create_keep()
        left.cnot(right)
        left.H()
        z, x = left.measure(), right.measure()
        yield from context.connection.flush()
        context.csockets["Carol"].send((int(z), int(x)))
        return None, None

    bodies = {
        "Alice": keeping("Bob", "create"),
        "Bob": middle,
        "Carol": keeping("Bob", "recv", corrected=True),
    }
    found = courses(bodies, replace(net, links=links))
    assert len(found) == 4
    joined = (1.0 + 3.0 * weight(0.9) * weight(0.75)) / 4.0
    assert fidelity(found, PHI_PLUS) == pytest.approx(joined, abs=CLOSE)


@pytest.mark.parametrize("link", [0.6, 0.75, 0.9])
def test_dejmps_of_two_werner_pairs(link):
    """Deutsch et al., Phys. Rev. Lett. 77, 2818 (1996)."""

    def node(peer, verb, turn):
        def body(context):
            keep, spend = getattr(context.epr_sockets[peer], f"{verb}_keep")(number=2)
            for qubit in (keep, spend):
                qubit.rot_X(n=turn, d=1)
            keep.cnot(spend)
            outcome = spend.measure()
            yield from context.connection.flush()
            context.csockets[peer].send_int(int(outcome))
            return int(outcome) == (yield from context.csockets[peer].recv_int()), keep

        return body

    bodies = {"Alice": node("Bob", "create", 1), "Bob": node("Alice", "recv", 3)}
    found = courses(bodies, network(link=werner_link(link)))
    accepted = [course for course in found if course[1][0]]
    success = chance_of(found, lambda mine, theirs: mine and theirs)
    # With weights of (phi_plus, and three times) the others: a = F, b = (1 - F) / 3.
    a, b = link, (1.0 - link) / 3.0
    assert success == pytest.approx((a + b) ** 2 + 4.0 * b**2, abs=CLOSE)
    kept = fidelity(accepted, PHI_PLUS) / success
    assert kept == pytest.approx((a**2 + b**2) / ((a + b) ** 2 + 4.0 * b**2), abs=CLOSE)


@pytest.mark.parametrize(("nodes", "link"), [(3, 1.0), (3, 0.85), (4, 0.9)])
def test_ghz_states_along_a_line(nodes, link):
    names = "ABCD"[:nodes]

    def body(place):
        down = names[place - 1] if place else None
        up = names[place + 1] if place + 1 < nodes else None

        def steps(context):
            pairs, messages = context.epr_sockets, context.csockets
            qubit, _ = yield from create_ghz(
                context.connection,
                down_epr_socket=pairs[down] if down else None,
                up_epr_socket=pairs[up] if up else None,
                down_socket=messages[down] if down else None,
                up_socket=messages[up] if up else None,
                do_corrections=True,
            )
            return None, qubit

        return steps

    bodies = {name: body(place) for place, name in enumerate(names)}
    found = courses(bodies, network(" ".join(names), link=werner_link(link)))
    signed = bell.correlators(bell.werner(link))
    for _ in range(nodes - 2):
        signed = ghz.merge(signed, bell.correlators(bell.werner(link)))
    vector = np.zeros(2**nodes)
    vector[[0, -1]] = math.sqrt(0.5)
    expected = ghz.populations(signed)[0]
    assert fidelity(found, vector) == pytest.approx(expected, abs=CLOSE)


# Keys and waits


@pytest.mark.parametrize("basis", "XYZ")
@pytest.mark.parametrize("link", [1.0, 0.9])
def test_error_rates_of_pairs_measured_directly(basis, link):
    def body(peer, verb, **options):
        def steps(context):
            (result,) = getattr(context.epr_sockets[peer], f"{verb}_measure")(**options)
            yield from context.connection.flush()
            return int(result.raw_measurement_outcome), None

        return steps

    asked = {"basis_local": EprMeasBasis[basis], "basis_remote": EprMeasBasis[basis]}
    bodies = {"Alice": body("Bob", "create", **asked), "Bob": body("Alice", "recv")}
    found = courses(bodies, network(link=werner_link(link)))
    errors = chance_of(found, lambda a, b: (a != b) != (basis == "Y"))
    assert errors == pytest.approx(2.0 * (1.0 - link) / 3.0, abs=CLOSE)


@pytest.mark.parametrize("basis", "XYZ")
def test_states_prepared_remotely_over_a_werner_pair(basis):
    """The state that was measured comes with (1 + w) / 2; the outcome says which of the two."""

    def alice(context):
        (result,) = context.epr_sockets["Bob"].create_rsp(basis_local=EprMeasBasis[basis])
        yield from context.connection.flush()
        return int(result.raw_measurement_outcome), None

    def bob(context):
        (qubit,) = context.epr_sockets["Alice"].recv_rsp()
        yield from context.connection.flush()
        return None, qubit

    found = courses({"Alice": alice, "Bob": bob}, network(link=werner_link(0.85)))
    ket = {"X": [1, 1], "Y": [1, 1j], "Z": [math.sqrt(2), 0]}[basis]
    other = {"X": [1, -1], "Y": [1, -1j], "Z": [0, math.sqrt(2)]}[basis]
    # Phi_plus is opposite in Y.
    kets = [
        np.array(each) / math.sqrt(2) for each in ((other, ket) if basis == "Y" else (ket, other))
    ]
    kept = sum(fidelity([course], kets[course[1][0]]) for course in found)
    assert kept == pytest.approx((1.0 + weight(0.85)) / 2.0, abs=CLOSE)


@pytest.mark.parametrize(("t1_s", "t2_s"), [(math.inf, 0.5), (0.5, 1.0), (1.0, 0.7)])
def test_pairs_decay_while_they_wait(t1_s, t2_s):
    device = replace(EXACT, t1_ns=0.0 if math.isinf(t1_s) else 1e9 * t1_s, t2_ns=1e9 * t2_s)

    def waiting(peer, verb, seconds):
        def body(context):
            _, half = yield from keeping(peer, verb)(context)
            yield Delay(1e9 * seconds)
            return None, half

        return body

    bodies = {"Alice": waiting("Bob", "create", 0.3), "Bob": waiting("Alice", "recv", 0.1)}
    found = courses(bodies, network(link=werner_link(0.9), device=device))
    signed = werner.wait([weight(0.9)] * 3, 0.3, 0.1, Memory(t1_s=t1_s, t2_s=t2_s))
    expected = float(werner.fidelity(signed))
    assert fidelity(found, PHI_PLUS) == pytest.approx(expected, abs=CLOSE)


# Games and blind computing


@pytest.mark.parametrize("link", [1.0, 0.8])
def test_the_chsh_game(link):
    """Clauser et al., Phys. Rev. Lett. 23, 880 (1969): cos^2(pi/8), less by the link's weight."""

    def player(peer, verb, turn):
        def body(context):
            _, half = yield from keeping(peer, verb)(context)
            half.rot_Y(angle=turn)
            outcome = half.measure()
            yield from context.connection.flush()
            return int(outcome), None

        return body

    won = 0.0
    for x in (0, 1):
        for y in (0, 1):
            bodies = {
                "Alice": player("Bob", "create", -x * PI / 2),
                "Bob": player("Alice", "recv", (2 * y - 1) * PI / 4),
            }
            found = courses(bodies, network(link=werner_link(link)))
            won += chance_of(found, lambda a, b, both=x * y: a ^ b == both) / 4.0
    expected = (1.0 + weight(link) * math.sqrt(0.5)) / 2.0
    assert won == pytest.approx(expected, abs=1e-6)
    assert link < 1.0 or expected == pytest.approx(math.cos(PI / 8) ** 2)


def blind(net, alpha, beta, theta1, theta2, trap=0):
    """Blind quantum computing on two qubits, of which ``trap`` may be a dummy (1 or 2)."""

    def client(context):
        socket, messages = context.epr_sockets["server"], context.csockets["server"]
        outcomes = []
        for number, theta in ((2, theta2), (1, theta1)):
            (half,) = socket.create_keep()
            if trap != number:
                half.rot_Z(angle=theta)
                half.H()
            outcomes.append(half.measure())
            # One after the other: the halves are of one pair each.
        yield from context.connection.flush()
        p2, p1 = (int(outcome) for outcome in outcomes)
        messages.send_float(p1 * PI - theta1 + (0.0 if trap == 2 else alpha))
        m1 = yield from messages.recv_int()
        messages.send_float(p2 * PI - theta2 + (0.0 if trap == 1 else (-1) ** m1 * beta))
        return (p1, p2), None

    def server(context):
        messages = context.csockets["client"]
        (second,) = context.epr_sockets["client"].recv_keep()
        (first,) = context.epr_sockets["client"].recv_keep()
        first.cphase(second)
        yield from context.connection.flush()
        outcomes = []
        for qubit in (first, second):
            qubit.rot_Z(angle=(yield from messages.recv_float()))
            qubit.H()
            outcome = qubit.measure()
            yield from context.connection.flush()
            outcomes.append(int(outcome))
            if len(outcomes) == 1:
                messages.send_int(outcomes[0])
        return tuple(outcomes), None

    return courses({"client": client, "server": server}, net)


BLIND = network("client server", link=werner_link(1.0))


@pytest.mark.parametrize(
    ("alpha", "beta", "zero"),
    [(PI / 2, PI / 2, 1.0), (PI / 2, -PI / 2, 0.0), (PI / 3, PI / 5, 0.7545)],
)
@pytest.mark.parametrize("thetas", [(0.0, 0.0), (PI / 4, -3 * PI / 4)])
def test_blind_computing_gives_the_computation(alpha, beta, zero, thetas):
    """The client's choice of angles hides H Rz(beta) H Rz(alpha) |+>, and does not change it."""
    found = blind(BLIND, alpha, beta, *thetas)
    rotations = [np.diag([1.0, np.exp(1j * angle)]) for angle in (alpha, beta)]
    hadamard = np.array([[1, 1], [1, -1]]) / math.sqrt(2)
    ket = hadamard @ rotations[1] @ hadamard @ rotations[0] @ np.ones(2) / math.sqrt(2)
    # Angles become multiples of pi / 2^d to six digits.
    chance = chance_of(found, lambda client, server: server[1] == 0)
    assert chance == pytest.approx(abs(ket[0]) ** 2, abs=1e-5)
    assert chance == pytest.approx(zero, abs=1e-4)


@pytest.mark.parametrize("trap", [1, 2])
def test_traps_of_blind_computing_never_fail_an_honest_server(trap):
    found = blind(BLIND, 0.7, 0.3, PI / 4, 3 * PI / 2, trap)
    # A dummy in |p> shifts the outcome of the other qubit, which is in |+> up to what was hidden.
    wrong = (
        (lambda client, server: server[1] != client[0])
        if trap == 1
        else (lambda client, server: server[0] != client[1])
    )
    assert chance_of(found, wrong) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("device", [EXACT, Generic(qubits=4)], ids=["exact", "default"])
def test_nothing_is_lost_over_all_courses(device):
    found = blind(network("client server", device=device), 0.7, 0.3, PI / 4, 0.0)
    assert sum(chance for chance, _, _ in found) == pytest.approx(1.0, abs=CLOSE)

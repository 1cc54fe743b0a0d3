"""Small networks and programs for tests of applications: a program is a function here."""

from backends.squid.program import Program, ProgramMeta
from backends.squid.run import run_network
from backends.squid.setting import (
    Classical,
    Generic,
    Link,
    LinkModel,
    Network,
    Node,
    Nv,
    Perfect,
)

EXACT = Generic(
    qubits=8, t1_ns=0.0, t2_ns=0.0, init_ns=0.0, single_ns=0.0, two_ns=0.0, measure_ns=0.0,
    two_depolar=0.0,
)  # fmt: skip
NV = Nv(
    qubits=4, electron_init_depolar=0.0, flip_0=0.0, flip_1=0.0, carbon_init_depolar=0.0,
    carbon_z_depolar=0.0, ec_depolar=0.0, electron_t1_ns=0.0, electron_t2_ns=0.0,
    carbon_t1_ns=0.0, carbon_t2_ns=0.0,
)  # fmt: skip


class Play(Program):
    """A program whose body is a function of its context."""

    def __init__(self, body, peers, name="play", max_qubits=8):
        self._body, self._meta = body, ProgramMeta(name, list(peers), list(peers), max_qubits)

    @property
    def meta(self):
        return self._meta

    def run(self, context):
        return self._body(context)


def network(names="Alice Bob", link=None, delay=0.0, device=EXACT):
    """A complete graph of nodes that are all alike."""
    names = names.split()
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    model: LinkModel = Perfect(state_delay_ns=1000.0) if link is None else link
    return Network(
        tuple(Node(name, device) for name in names),
        tuple(Link(a, b, model) for a, b in pairs),
        tuple(Classical(a, b, delay) for a, b in pairs),
    )


def play(bodies, net=None, num_times=1, **options):
    """Run bodies by node; everybody has sockets to everybody."""
    net = network() if net is None else net
    programs = {
        name: Play(body, [n.name for n in net.nodes if n.name != name])
        for name, body in bodies.items()
    }
    return run_network(net, programs, num_times, engine="numpy", **options)


def keeping(requests, simulation, finish=None):
    """A body that makes requests (peer, "create" or "recv", number) in one subroutine."""

    def body(context):
        qubits = []
        for peer, verb, number in requests:
            qubits += getattr(context.epr_sockets[peer], f"{verb}_keep")(number=number)
        start = simulation.now_ns
        yield from context.connection.flush()
        took = simulation.now_ns - start
        outcomes = [qubit.measure() for qubit in qubits]
        yield from context.connection.flush()
        return took, [int(outcome) for outcome in outcomes]

    return body


def measuring(verb, **options):
    peer = "Bob" if verb == "create" else "Alice"

    def body(context):
        results = getattr(context.epr_sockets[peer], f"{verb}_measure")(**options)
        yield from context.connection.flush()
        return [int(result.raw_measurement_outcome) for result in results]

    return body

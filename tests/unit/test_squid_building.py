"""The light builder makes the commands of netqasm's own, and equal ones have equal keys."""

import math
from types import SimpleNamespace

import pytest
from netqasm.lang.ir import GenericInstr, ICmd, ProtoSubroutine
from netqasm.lang.operand import Template
from netqasm.sdk import Qubit
from netqasm.sdk.build_epr import EprMeasBasis
from netqasm.sdk.build_types import GenericHardwareConfig
from netqasm.sdk.builder import Builder
from netqasm.sdk.connection import DebugConnection
from netqasm.sdk.epr_socket import EPRSocket
from netqasm.sdk.qubit import QubitMeasureBasis
from netqasm.sdk.transpile import NVSubroutineTranspiler

from backends.squid.building import Block, expanded, light_builder
from backends.squid.compiling import CompiledSubroutines, structure

KINDS = [(5, False), (1, False), (5, True), (1, True)]


class Recorded(DebugConnection):
    """A connection that builds and does nothing else."""

    def __init__(self, qubits, nv, light):
        self._app_name = self._node_name = "Alice"
        self._app_id, self._max_qubits = 3, qubits
        self._logger = SimpleNamespace(info=lambda *_: None)
        if light:
            self._builder = light_builder(self, 3, qubits, nv)
        else:
            self._builder = Builder(
                self, 3, GenericHardwareConfig(qubits),
                compiler=NVSubroutineTranspiler if nv else None,
            )  # fmt: skip

    def _get_network_info(self):
        return SimpleNamespace(get_node_id_for_app=lambda app_name: 1)


def gates(connection, socket):
    qubit, other = Qubit(connection), Qubit(connection)
    qubit.rot_X(angle=0.7)
    qubit.rot_Z(n=3, d=2)
    qubit.rot_Y(n=Template("turn"), d=4)
    other.H()
    qubit.cnot(other)
    qubit.measure(basis=QubitMeasureBasis.Y)
    other.measure(store_array=False)


def keep(connection, socket):
    for verb in ("create", "recv"):
        qubits = getattr(socket, f"{verb}_keep")(number=connection._max_qubits)
        for qubit in qubits:
            qubit.measure()


def corrections(connection, socket):
    for number in (1, 2, 1):
        for qubit in socket.recv_keep(number=min(number, connection._max_qubits)):
            qubit.measure()
    with connection.loop(2):
        socket.recv_keep()[0].measure()


def sequential(connection, socket):
    outcomes = connection.new_array(4)

    def consume(_, qubit, pair):
        with pair.if_eq(2):
            qubit.H()
        qubit.measure(outcomes.get_future_index(pair))

    socket.create_keep(number=4, sequential=True, post_routine=consume)
    socket.recv_keep(number=4, sequential=True, post_routine=consume)


def in_context(connection, socket):
    outcomes = connection.new_array(2)
    with socket.create_context(number=2, sequential=True) as (qubit, pair):
        qubit.measure(outcomes.get_future_index(pair))


def retried(connection, socket):
    for verb in ("create", "recv"):
        getattr(socket, f"{verb}_keep")(number=1, min_fidelity_all_at_end=70, max_tries=5)[
            0
        ].measure()


def direct(connection, socket):
    socket.create_measure(number=2, basis_local=EprMeasBasis.X, max_time=4)
    socket.recv_measure(number=3)
    socket.create_rsp(rotations_local=(1, 2, 3))
    socket.recv_rsp()


def numbers(connection, socket):
    array = connection.new_array(3, init_values=[5, 5, 5])
    mixed = connection.new_array(init_values=[1, None, 0])
    first = mixed.get_future_index(0)
    first.add(array.get_future_index(1), mod=7)
    register = connection.builder.new_register(4)
    register.add(2)
    with array.foreach() as entry, entry.if_ge(5):
        Qubit(connection).measure(future=mixed.get_future_index(1))
    with array.enumerate() as (index, entry), entry.if_nz():
        Qubit(connection).measure(future=mixed.get_future_index(index))
    connection.if_lt(first, 3, lambda conn: Qubit(conn).measure())
    connection.insert_breakpoint(SimpleNamespace(value=0))
    array.undefine()


SCENES = (gates, keep, corrections, sequential, in_context, retried, direct, numbers)


def built(scene, qubits, nv, light):
    connection = Recorded(qubits, nv, light)
    socket = EPRSocket("Bob", 2)
    socket.conn = connection
    protos = []
    for _ in range(2):
        scene(connection, socket)
        protos.append(connection.builder.subrt_pop_pending_subroutine())
        connection.builder._reset()
        for qubit in list(connection.active_qubits):
            qubit.active = False
    return connection, protos


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize(("qubits", "nv"), KINDS)
def test_commands_are_those_of_netqasm(scene, qubits, nv):
    try:
        original, wanted = built(scene, qubits, nv, light=False)
    except (ValueError, AssertionError) as error:
        with pytest.raises(type(error)):
            built(scene, qubits, nv, light=True)
        return
    # Twice: blocks are made the first time and found again the second.
    for _ in range(2):
        connection, found = built(scene, qubits, nv, light=True)
        for one, other in zip(wanted, found, strict=True):
            assert list(map(str, one.commands)) == list(map(str, expanded(other.commands)))
            assert one.arguments == other.arguments and one.app_id == other.app_id
    registers = original.builder._mem_mgr._active_registers
    active = {16 * register.name.value + register.index for register in registers}
    assert connection.builder._mem_mgr._active_codes == active


def test_received_pairs_share_their_corrections():
    _, (first, _) = built(corrections, 5, False, light=True)
    _, (again, _) = built(corrections, 5, False, light=True)
    blocks = [c for c in first.commands if isinstance(c, Block)]
    assert blocks and all(
        one is other
        for one, other in zip(
            blocks, (c for c in again.commands if isinstance(c, Block)), strict=True
        )
    )
    assert "bne" in str(first)


def test_keys_are_equal_where_texts_are():
    seen = {}
    for scene in SCENES:
        for qubits, nv in KINDS:
            for light in (True, False):
                try:
                    _, protos = built(scene, qubits, nv, light)
                except (ValueError, AssertionError):
                    continue
                for proto in protos:
                    plain = ProtoSubroutine(expanded(proto.commands))
                    text = tuple(map(str, plain.commands))
                    assert seen.setdefault(structure(plain), text) == text
    assert len(seen) == len(set(seen.values())) > len(SCENES)


def test_a_subroutine_is_compiled_once_and_its_source_stays():
    compiled, calls = CompiledSubroutines(), []
    connection, (proto, _) = built(corrections, 5, False, light=True)
    before = str(proto)

    def compile_it(source):
        calls.append(source)
        return connection.builder.subrt_compile_subroutine(source)

    first = compiled.get(proto, compile_it)
    _, (again, _) = built(corrections, 5, False, light=True)
    assert compiled.get(again, compile_it) is first and len(calls) == 1
    assert str(proto) == before
    # An operand of a kind that has no key is netqasm's business.
    odd = ProtoSubroutine([ICmd(GenericInstr.SET, operands=["R0", math.pi])])
    assert compiled.get(odd, lambda source: source) is not odd

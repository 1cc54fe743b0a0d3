"""What stands in for SquidASM and NetSquid: imports, time, seeds, logs, states, the command."""

import importlib
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from netqasm.lang.ir import BreakpointAction, BreakpointRole
from netqasm.sdk.qubit import Qubit

from backends import squid
from backends.commands.squidasm import command
from backends.squid.errors import SquidError
from backends.squid.program import Program, ProgramMeta
from backends.squid.standin import simulator as ns
from backends.squid.standin.breakpoints import on_breakpoint
from backends.squid.standin.finder import Standin
from backends.squid.standin.generation import create_stack_network, create_two_node_network
from backends.squid.standin.install import Installed, real_netsquid, uninstall
from backends.squid.standin.logs import LogManager
from backends.squid.standin.names import MODULES, ROOTS
from backends.squid.standin.observe import GlobalSimData, get_qubit_state, get_reference_state
from backends.squid.standin.running import run
from backends.squid.standin.state import STATE
from quantum.errors import InputError

PAIR = create_two_node_network(["A", "B"], clink_delay=10, link_delay=30)


class Play(Program):
    """A program made of a function of the context."""

    def __init__(self, steps: Callable[[Any], Any], peers: tuple[str, ...] = ("A", "B")) -> None:
        self.steps, self.peers = steps, peers

    @property
    def meta(self) -> ProgramMeta:
        peers = list(self.peers)
        return ProgramMeta("play", csockets=peers, epr_sockets=peers, max_qubits=5)

    def run(self, context: Any) -> Any:
        return self.steps(context)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    uninstall()
    STATE.engine = "numpy"
    yield
    uninstall()


def both(a: Callable[[Any], Any], b: Callable[[Any], Any], times: int = 1) -> list[list[Any]]:
    return run(PAIR, {"A": Play(a, ("B",)), "B": Play(b, ("A",))}, times)


def create(context: Any) -> Any:
    half = context.epr_sockets["B"].create_keep()[0]
    outcome = half.measure()
    yield from context.connection.flush()
    return int(outcome)


def receive(context: Any) -> Any:
    half = context.epr_sockets["A"].recv_keep()[0]
    outcome = half.measure()
    yield from context.connection.flush()
    return int(outcome)


# ---------------------------------------------------------------------------------- imports


def test_nothing_is_registered_unless_asked_for() -> None:
    assert not any(isinstance(finder, Standin) for finder in sys.meta_path)
    assert ROOTS.isdisjoint(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("netsquid_netbuilder")


def test_every_name_can_be_imported() -> None:
    assert squid.install("numpy") is Installed.STANDIN
    assert squid.install("numpy", seed=3) is Installed.STANDIN
    assert sum(isinstance(finder, Standin) for finder in sys.meta_path) == 1
    for name, sources in MODULES.items():
        module = importlib.import_module(name)
        for names in sources.values():
            for entry in names.split():
                assert hasattr(module, entry.partition("=")[0])
        parent, _, child = name.rpartition(".")
        assert not parent or getattr(sys.modules[parent], child) is module
    uninstall()
    assert ROOTS.isdisjoint(sys.modules)


def test_one_import_of_netsquid_is_enough() -> None:
    squid.install("numpy")
    netsquid = importlib.import_module("netsquid")
    netsquid.set_qstate_formalism(netsquid.qubits.qformalism.QFormalism.DM)
    assert netsquid.get_qstate_formalism() is netsquid.QFormalism.DM
    assert netsquid.qubits.ketstates.BellIndex.PSI_PLUS == 1
    with pytest.raises(SquidError, match="formalism must be a QFormalism"):
        netsquid.set_qstate_formalism("DM")


def test_what_is_missing_says_what_is_there() -> None:
    squid.install("numpy")
    with pytest.raises(ModuleNotFoundError, match=r"squidasm\.run stands in .* it has stack$"):
        importlib.import_module("squidasm.run.multithread")
    util = importlib.import_module("squidasm.util")
    assert not hasattr(util, "nothing")
    with pytest.raises(AttributeError, match=r"no 'nothing'; it has util, routines, qkd_routine"):
        _ = util.nothing
    assert importlib.util.find_spec("json") is not None


def test_foreign_modules_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "squidasm", ModuleType("squidasm"))
    with pytest.raises(SquidError, match="squidasm is imported already, and not ours"):
        squid.install("numpy")
    assert not any(isinstance(finder, Standin) for finder in sys.meta_path)


def test_a_real_netsquid_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "netsquid"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    # A package that is only called so does not count.
    assert real_netsquid() is None
    assert squid.install("numpy") is Installed.STANDIN
    uninstall()
    (package / "qubits").mkdir()
    assert real_netsquid() == str(package)
    assert squid.install("numpy") is Installed.NETSQUID
    assert not any(isinstance(finder, Standin) for finder in sys.meta_path)
    script = tmp_path / "script.py"
    script.write_text("import netsquid\nprint(netsquid.__file__)\n")
    result = CliRunner().invoke(command, [str(script)])
    assert result.exit_code == 0
    assert "dpem: NetSquid is installed here" in result.stderr
    assert result.stdout == f"{package / '__init__.py'}\n"
    del sys.modules["netsquid"]


def test_wrong_choices() -> None:
    with pytest.raises(SquidError, match="engine must be aer or numpy"):
        squid.install("qutip")
    with pytest.raises(SquidError, match="processes must be >= 1"):
        squid.install("numpy", processes=0)


# --------------------------------------------------------------------------- seeds and time


def outcomes(times: int = 30) -> list[int]:
    return both(create, receive, times)[0]


def test_seeds_repeat_and_runs_differ() -> None:
    ns.set_random_state(42)
    first, second = outcomes(), outcomes()
    ns.set_random_state(seed=42)
    assert [outcomes(), outcomes()] == [first, second]
    assert first != second
    ns.set_random_state(rng=np.random.default_rng(1))
    third = outcomes()
    ns.set_random_state(rng=np.random.default_rng(1))
    assert outcomes() == third
    ns.set_random_state(2**40 + 42)
    assert outcomes() != first


def test_a_fresh_seed_is_told_and_repeats(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="Stack.Seed"):
        first, second = outcomes(), outcomes()
    (told,) = [r.getMessage() for r in caplog.records if r.name == "Stack.Seed"]
    ns.set_random_state(int(re.findall(r"seed (\d+)", told)[0]))
    assert [outcomes(), outcomes()] == [first, second]
    STATE.seed(None)
    assert ns.get_random_state() is ns.get_random_state()


@pytest.mark.parametrize("wrong", [{}, {"seed": 1, "rng": np.random.default_rng(1)}, {"rng": 3}])
def test_seeds_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(SquidError):
        ns.set_random_state(**wrong)
    for seed in (-1, 2.5, True, "1"):
        with pytest.raises(SquidError, match="seed must be a whole number >= 0"):
            ns.set_random_state(seed)  # type: ignore[arg-type]


def test_time_goes_on_from_run_to_run() -> None:
    seen = []

    def watch(context: Any) -> Any:
        seen.append(ns.sim_time())
        yield from create(context)
        return ns.sim_time()

    # A pair takes two messages of 10 ns and 30 ns; devices take no time.
    assert both(watch, receive, 2)[0] == [50.0, 100.0]
    assert ns.sim_time() == 100.0
    assert both(watch, receive)[0] == [150.0]
    assert seen == [0.0, 50.0, 100.0]
    assert ns.sim_time(ns.MICROSECOND) == 0.15
    ns.sim_reset()
    assert ns.sim_time() == 0.0


# -------------------------------------------------------------------------------------- log


def test_log_lines_tell_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.log"
    logger = LogManager.get_stack_logger("Alice")
    LogManager.set_log_level("WARNING")
    LogManager.log_to_file(str(path))

    def talk(context: Any) -> Any:
        yield from create(context)
        logger.warning("pair %d", 1)
        logger.info("quiet")

    both(talk, receive)
    assert path.read_text() == "WARNING:50.0 ns:Stack.Alice:pair 1\n"
    assert capsys.readouterr().err == path.read_text()
    assert LogManager.get_log_level() == logging.WARNING
    root = LogManager.get_stack_logger()
    _, file = root.handlers
    file.close()
    root.handlers = []
    assert LogManager.get_stack_logger("other").parent is root
    assert root.handlers == []


def test_events_are_logged_by_node(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    LogManager.set_log_level(logging.INFO)
    LogManager.get_stack_logger().handlers = []
    LogManager.log_to_file(str(path))
    both(create, receive)
    assert re.search(r"^INFO:0\.0 ns:Stack\.A:", path.read_text(), re.MULTILINE)
    assert re.search(r"^INFO:0\.0 ns:Stack\.B:", path.read_text(), re.MULTILINE)


# ----------------------------------------------------------------------------------- states


def test_reference_states() -> None:
    theta, phi = 0.7, 2.1
    ket = np.array([np.cos(theta / 2), np.exp(1j * phi) * np.sin(theta / 2)])
    assert get_reference_state(phi, theta) == pytest.approx(np.outer(ket, ket.conj()))


def test_states_of_qubits_and_of_all_that_are_entangled() -> None:
    def look(context: Any, node: str, peer: str) -> Any:
        epr = context.epr_sockets[peer]
        half = epr.create_keep()[0] if node == "A" else epr.recv_keep()[0]
        own = Qubit(context.connection)
        own.X()
        if node == "A":
            half.X()
        yield from context.connection.flush()
        context.csockets[peer].send("ready")
        yield from context.csockets[peer].recv()
        seen = [
            get_qubit_state(own, node),
            get_qubit_state(half, node),
            get_qubit_state(half, node, full_state=True),
            GlobalSimData.get_quantum_state(),
        ]
        # Qubits of a program are gone when it ends.
        context.csockets[peer].send("seen")
        yield from context.csockets[peer].recv()
        return seen

    found = both(lambda c: look(c, "A", "B"), lambda c: look(c, "B", "A"))
    psi_plus = ns.bell_states[ns.BellIndex.PSI_PLUS]
    for own, half, full, everywhere in (result[0] for result in found):
        assert own == pytest.approx(np.diag([0.0, 1.0]))
        assert half == pytest.approx(np.eye(2) / 2.0)
        assert full == pytest.approx(psi_plus @ psi_plus.T)
        assert {name: len(qubits) for name, qubits in everywhere.items()} == {"A": 2, "B": 2}


def test_qubitapi_measures_fidelities() -> None:
    found = {}

    def look(context: Any) -> Any:
        context.epr_sockets["B"].create_keep()
        yield from context.connection.flush()
        qubits = [q for of in GlobalSimData.get_quantum_state().values() for q in of.values()]
        found["root"] = ns.fidelity(qubits, ns.b00)
        found["squared"] = ns.fidelity(qubits[0], ns.h0, squared=True)
        found["rooted"] = ns.fidelity(qubits[0], np.diag([1.0, 0.0]))
        found["names"] = [qubit.name for qubit in qubits]
        with pytest.raises(SquidError, match="the reference has 2 qubits, the state 1"):
            ns.fidelity(qubits[0], ns.b00)

    both(look, lambda c: (yield from _wait(c)))
    assert found["root"] == pytest.approx(1.0)
    assert found["squared"] == pytest.approx(0.5)
    assert found["rooted"] == pytest.approx(np.sqrt(0.5))
    assert found["names"] == ["A-0", "B-0"]


def _wait(context: Any) -> Any:
    context.epr_sockets["A"].recv_keep()
    yield from context.connection.flush()


def test_states_that_cannot_be_looked_at() -> None:
    def look(context: Any) -> Any:
        qubit = Qubit(context.connection)
        with pytest.raises(SquidError, match="virtual qubit 0 is not in the memory of A"):
            get_qubit_state(qubit, "A")
        with pytest.raises(SquidError, match="there is no node 'C'; nodes are: A, B"):
            get_qubit_state(qubit, "C")
        yield from context.connection.flush()

    with pytest.raises(SquidError, match="only while a network runs"):
        GlobalSimData.get_quantum_state()
    with pytest.raises(SquidError, match="no state was saved"):
        GlobalSimData.get_last_breakpoint_state()
    run(PAIR, {"A": Play(look, ())})


# ------------------------------------------------------------------------------ breakpoints


def test_local_breakpoints_keep_the_state() -> None:
    def steps(context: Any) -> Any:
        qubit = Qubit(context.connection)
        qubit.X()
        context.connection.insert_breakpoint(BreakpointAction.NOP)
        context.connection.insert_breakpoint(BreakpointAction.DUMP_LOCAL_STATE)
        qubit.X()
        yield from context.connection.flush()

    run(PAIR, {"A": Play(steps, ())})
    assert len(STATE.breakpoints) == 1
    assert GlobalSimData.get_last_breakpoint_state()["A"][0] == pytest.approx(np.diag([0.0, 1.0]))
    assert GlobalSimData.get_last_breakpoint_state()["B"] == {}


def test_global_breakpoints_wait_for_each_other() -> None:
    def steps(context: Any, role: BreakpointRole, turns: int) -> Any:
        qubit = Qubit(context.connection)
        for _ in range(turns):
            qubit.X()
        if role is BreakpointRole.RECEIVE:
            # This node comes later, by two messages.
            context.csockets["A"].send("")
            yield from context.csockets["A"].recv()
        else:
            yield from context.csockets["B"].recv()
            context.csockets["B"].send("")
        context.connection.insert_breakpoint(BreakpointAction.DUMP_GLOBAL_STATE, role)
        yield from context.connection.flush()
        return ns.sim_time()

    found = both(
        lambda c: steps(c, BreakpointRole.CREATE, 1), lambda c: steps(c, BreakpointRole.RECEIVE, 2)
    )
    assert found == [[20.0], [20.0]]
    state = GlobalSimData.get_last_breakpoint_state()
    assert state["A"][0] == pytest.approx(np.diag([0.0, 1.0]))
    assert state["B"][0] == pytest.approx(np.diag([1.0, 0.0]))
    with pytest.raises(SquidError, match="a node at a global breakpoint with role RECEIVE"):
        run(PAIR, {"A": Play(lambda c: _alone(c), ())})
    assert on_breakpoint.__module__ == "backends.squid.standin.breakpoints"


def _alone(context: Any) -> Any:
    context.connection.insert_breakpoint(BreakpointAction.DUMP_GLOBAL_STATE)
    yield from context.connection.flush()


# ------------------------------------------------------------------------------ the command


def invoke(folder: Path, source: str, *arguments: str) -> Result:
    script = folder / "script.py"
    script.write_text(source)
    return CliRunner().invoke(command, ["--engine", "numpy", str(script), *arguments])


def test_a_script_has_its_arguments_its_folder_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'found'\n")
    result = invoke(
        tmp_path,
        "import sys, beside\nprint(__name__, __file__, sys.argv, sys.path[0], beside.WORD)\n",
        *("--help", "--seed", "-x", "--", "more"),
    )
    script = str(tmp_path / "script.py")
    told = ["--help", "--seed", "-x", "--", "more"]
    assert result.stdout == f"__main__ {script} {[script, *told]} {tmp_path} found\n"
    assert (result.exit_code, result.stderr) == (0, "")
    del sys.modules["beside"]


@pytest.mark.parametrize(
    ("ending", "code"),
    [("pass", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('why')", 1), ("1 / 0", 1)],
)
def test_exit_codes_are_passed_on(tmp_path: Path, ending: str, code: int) -> None:
    assert invoke(tmp_path, f"import sys\n{ending}\n").exit_code == code


def test_tracebacks_begin_in_the_script(tmp_path: Path) -> None:
    result = invoke(tmp_path, "import os; os.chdir('/')\nx = 0\n1 / x\n")
    first, second, *_ = result.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert second == f'  File "{tmp_path / "script.py"}", line 3, in <module>'
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "SyntaxError" in invoke(tmp_path, "x = (\n").stderr
    result = invoke(tmp_path, "from squidasm.util import nothing\n")
    assert "it has util, routines, qkd_routine, create_two_node_network" in result.stderr


def test_errors_of_ours_are_one_line_with_a_place(tmp_path: Path) -> None:
    source = "from squidasm.util import create_two_node_network as c\n\nc(['A', 'B'], 7)\n"
    result = invoke(tmp_path, source)
    assert isinstance(result.exception, Exception)
    told = str(result.exception)
    assert told == (
        "DepolariseQLinkConfig: fidelity must be a probability, 0 to 1, got -4.25 (script.py:3)"
    )
    assert getattr(result.exception, "exit_code", None) == 2


def test_a_seed_fixes_what_scripts_draw_themselves(tmp_path: Path) -> None:
    script = tmp_path / "draws.py"
    script.write_text("import random\nimport numpy\nprint(random.random(), numpy.random.rand())\n")
    runner = CliRunner()
    said = [runner.invoke(command, ["--seed", seed, str(script)]).stdout for seed in "778"]
    assert said[0] == said[1] != said[2]


def test_unknown_options_before_the_script_are_errors(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--fast", str(tmp_path / "none.py")])
    assert result.exit_code == 2
    assert "--fast" in result.stderr
    result = CliRunner().invoke(command, [str(tmp_path / "none.py")])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith("cannot read ")


def test_networks_of_three(tmp_path: Path) -> None:
    network = create_stack_network(["A", "B", "C"], "perfect", None)
    found = run(network, {"B": Play(lambda c: iter(()), ())}, 2)
    assert [len(results) for results in found] == [0, 2, 0]

"""The messages between agents, broker and workers, in the words of the EGP.

The names are those of the link-layer service of Dahlberg et al. (SIGCOMM 2019; draft
draft-dahlberg-ll-quantum-03): CREATE, OK, ERR, purpose, minimum fidelity, goodness. A slot goes::

    broker -> agents    Look     what its nodes see, answers to earlier creates, rewards
    agents -> broker    Speak    creates (pairs to hold, pairs to deliver), what they would yield
    broker -> workers   Job      programs to execute, each once
    workers -> broker   Done     raw passes and fails, or Failed

Nodes and links travel as the numbers of the run's network; Bell states and bases by name.
"""

from typing import Annotated, Literal

import msgspec

from quantum.errors import Code
from quantum.estimate import Estimate
from quantum.program import Gates, Memory, Program
from quantum.roles import Role

__all__ = [
    "BACKEND",
    "BOOT",
    "BRIEF",
    "FEATURES",
    "PROBE",
    "VERSION",
    "Beat",
    "Block",
    "Brief",
    "Bye",
    "Create",
    "Done",
    "Err",
    "Failed",
    "Hello",
    "Job",
    "Look",
    "Message",
    "Ok",
    "Pulse",
    "Refuse",
    "Speak",
    "Task",
    "Telemetry",
    "Welcome",
    "Yield",
]

VERSION = 1
#: What this version has beyond the first: ``busy`` is a refusal with a time to ask again, ``clock``
#: are times in hello and welcome, ``resume`` is to repeat an answer when a message comes again,
#: ``blocks`` are programs as columns.
FEATURES = ("busy", "clock", "resume", "blocks")
#: Features that older brokers leave aside: ``backend:NAME`` and ``boot:HEX`` (a worker's process);
#: ``probe``, who takes no seat; ``brief``, an agent that has to be told what to do.
BACKEND, BOOT, PROBE, BRIEF = "backend", "boot", "probe", "brief"

#: Steps that blocks may have.
StepKind = Literal["generate", "wait", "dejmps", "bbpssw", "epl", "swap"]
Name = Annotated[str, msgspec.Meta(max_length=64)]
Features = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=32)], ...], msgspec.Meta(max_length=32)
]


class Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all messages: immutable, and strict about what they hold."""


class Hello(Frame, frozen=True, tag="hello"):
    """Open a session: who is there, in which role, and for which nodes it speaks.

    ``name`` is that of the key of the connection. ``sent_s`` is the sender's clock (UTC).
    """

    v: int
    role: Role
    name: Name
    nodes: tuple[int, ...] = ()
    keeps: bool = True
    """Whether a worker's backend can hold pairs."""
    features: Features = ()
    sent_s: float = 0.0


class Welcome(Frame, frozen=True, tag="welcome"):
    """Accept a session, and say what it may do.

    ``features`` are those that both sides have; ``credits`` requests may be open at once, messages
    have at most ``max_bytes`` and come at most at ``rate_hz`` (0: not limited). ``clock_s`` is the
    broker's clock (UTC); ``sent_s`` is that of the hello, given back.
    """

    v: int
    group: int
    features: Features = ()
    credits: int = 0
    max_bytes: int = 0
    rate_hz: float = 0.0
    clock_s: float = 0.0
    sent_s: float = 0.0


class Brief(Frame, frozen=True, tag="brief"):
    """Tell an agent that was started by itself what it has to know, before it takes its seat.

    ``setting`` is JSON; ``targets`` (one for every link) and ``policy`` (empty: learning starts at
    the heuristic) are float64. The rest says how its changes are clipped and hidden.
    """

    nodes: tuple[int, ...]
    setting: bytes
    targets: bytes
    policy: bytes = b""
    clip_norm: float = 0.2
    local_noise: float = 0.0
    secret: bool = False


class Refuse(Frame, frozen=True, tag="refuse"):
    """Refuse a session or a message, and say why.

    With ``retry_s`` the broker is only busy: the same may be asked again after so long.
    """

    code: Code
    detail: str
    retry_s: float = 0.0


class Bye(Frame, frozen=True, tag="bye"):
    """End a session; ``interrupted`` where the run did not come to its end."""

    interrupted: bool = False


class Create(Frame, frozen=True, tag="create"):
    """Ask for pairs between two nodes.

    ``hold``: make a pair on a link ahead of demand and keep it; otherwise deliver ``pairs`` to the
    application before ``max_time_s`` has passed. ``urgency`` says how much a held pair is missed.
    """

    create_id: int
    source: int
    destination: int
    pairs: int = 1
    minimum_fidelity: float = 0.0
    max_time_s: float = 0.0
    hold: bool = False
    urgency: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.minimum_fidelity <= 1.0:
            raise ValueError("minimum_fidelity must be between 0 and 1")
        if self.pairs < 1 or not 0.0 <= self.max_time_s < 1e6:
            raise ValueError("pairs must be >= 1 and max_time_s >= 0")


class Yield(Frame, frozen=True, tag="yield"):
    """Say which link's oldest pair a crowded memory would give up, and how little it is missed."""

    node: int
    position: int
    surplus: float


class Ok(Frame, frozen=True, tag="ok"):
    """A pair exists. ``sequence`` with the two nodes names it; ``goodness`` is measured.

    ``source_of_truth`` says where the estimate comes from: sim, stub or real.
    """

    create_id: int
    source: int
    destination: int
    sequence: int
    goodness: Estimate | None = None
    source_of_truth: str = "sim"


class Err(Frame, frozen=True, tag="err"):
    """A create failed, wholly or for ``pairs`` of its pairs."""

    create_id: int
    source: int
    code: Code
    pairs: int = 1


class Look(Frame, frozen=True, tag="look"):
    """What the nodes of one agent process see at the beginning of a slot.

    ``nodes`` with a token or a crowded memory have a row in ``tokens``, ``fill`` (qubits in use)
    and ``views`` (little-endian float64, (len(nodes), K, 7)). ``credit`` is the reward of each of
    the process's nodes since the last look (float64). ``learn`` closes a federated round;
    ``parameters`` are the averaged weights of the last one (float64).
    """

    slot: int
    nodes: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    fill: tuple[int, ...] = ()
    views: bytes = b""
    answers: tuple[Ok | Err, ...] = ()
    credit: bytes = b""
    learn: bool = False
    parameters: bytes = b""


class Speak(Frame, frozen=True, tag="speak"):
    """What the nodes of one agent process do in a slot."""

    slot: int
    creates: tuple[Create, ...] = ()
    yields: tuple[Yield, ...] = ()
    forecast: bytes = b""
    """Pairs that are expected to be asked for soon, of each class whose source is a node of the
    process, in the order of the classes (little-endian float64); empty where nothing is new."""
    update: bytes = b""
    """Clipped change of each node's weights since the last round (float64, (nodes, P))."""
    updates_done: int = 0
    """Learning steps taken so far, for the summary."""


class Task(Frame, frozen=True):
    """One program to execute once: ``basis`` -1 keeps the pair, 0 xx, 1 yy, 2 zz measures it.

    ``draw`` is the keyed uniform that decides a simulated outcome. ``link`` is the link of the
    run's network whose pair is measured, where a laboratory has to know it, else -1. With
    ``angles_rad`` each qubit is measured in a basis of its own instead, left and right: angle t is
    cos t Z + sin t X.
    """

    program: Program
    basis: int = -1
    draw: float = 0.0
    link: int = -1
    angles_rad: tuple[float, float] | None = None


class Block(Frame, frozen=True):
    """Programs of one skeleton as columns, each to be executed once.

    The ``skeleton`` are the steps without their numbers: (kind, first pair, second pair or -1).
    ``basis`` is one signed byte for each program, ``draw`` one float, both as in :class:`Task`.
    ``populations`` are the Bell populations of its generated pairs, four floats each, ``waits_s``
    the times of its waits, left and right; program by program, in the order of the skeleton. Floats
    are little-endian float64.
    """

    skeleton: Annotated[tuple[tuple[StepKind, int, int], ...], msgspec.Meta(max_length=1024)]
    populations: bytes
    waits_s: bytes
    basis: bytes
    draw: bytes
    memory: Memory = Memory()
    gates: Gates = Gates()


class Job(Frame, frozen=True, tag="job"):
    """Programs to execute, each once: a job that is given ``again`` was perhaps done already.

    Its ``tasks`` come first, then the programs of its ``blocks``, to peers with feature blocks.
    """

    job: int
    tasks: tuple[Task, ...]
    again: bool = False
    blocks: tuple[Block, ...] = ()

    @property
    def programs(self) -> int:
        """How many programs there are."""
        return len(self.tasks) + sum(len(block.basis) for block in self.blocks)


class Fault(Frame, frozen=True):
    """A task of a job that could not be executed, by its place in the job."""

    task: int
    code: Code
    detail: str


class Done(Frame, frozen=True, tag="done"):
    """What came of a job, task by task: 1 passed, 0 failed, -1 kept or not executed.

    ``fidelity`` is the true one where a simulator knows it: recorded for checks, never a reward; it
    is 0 for a task that could not be executed. Those have a ``faults`` entry each. ``calibration``
    names, task by task, what a laboratory's link was calibrated by; empty where nothing is.
    ``bits`` are the two results of tasks with angles, 2 left + right, and -1 for others; empty
    where no task has angles. Such a task has passed where its two results are equal.
    """

    job: int
    passed: tuple[int, ...]
    fidelity: tuple[float, ...] = ()
    source_of_truth: str = "sim"
    faults: tuple[Fault, ...] = ()
    calibration: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()


class Failed(Frame, frozen=True, tag="failed"):
    """A job of which no task could be executed."""

    job: int
    code: Code
    detail: str


class Telemetry(Frame, frozen=True, tag="telemetry"):
    """What the broker publishes while it runs."""

    slot: int
    horizon: int
    requested: int
    delivered: int
    executed: int
    tested: int
    stored: int
    rounds: int
    reward: float
    fidelity: Estimate
    slot_s: float = 0.02
    contention: float = 0.0
    """Share of resource-slots that two or more live requests wanted so far."""


class Beat(Frame, frozen=True, tag="beat"):
    """Say that this process is alive; who it is shows by the key of its connection."""


class Pulse(Frame, frozen=True, tag="pulse"):
    """Tell workers of a laboratory that broker and agents are alive right now.

    ``lost`` names who is not; ``over`` ends the run in order.
    """

    lost: str = ""
    over: bool = False


_Session = Hello | Welcome | Brief | Refuse | Bye
_Slot = Look | Speak | Job | Done | Failed
Message = _Session | _Slot | Telemetry | Beat | Pulse

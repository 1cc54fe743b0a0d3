"""What can be wrong with an application; each message names program, node and, if known, line."""

from quantum.errors import DpemError

__all__ = ["DeadlockError", "LimitError", "SquidError"]


class SquidError(DpemError):
    """An application did something that the executor cannot do, or that makes no sense."""

    exit_code = 2


class LimitError(SquidError):
    """Something went on for longer than allowed: events, instructions, tries or qubits."""


class DeadlockError(SquidError):
    """Nothing can happen any more, and programs have not ended.

    ``waiting`` is (who, for what) for each of them.
    """

    def __init__(self, time_ns: float, waiting: list[tuple[str, str]]) -> None:
        self.time_ns, self.waiting = time_ns, waiting
        told = "; ".join(f"{who} waits for {what}" for who, what in waiting)
        super().__init__(f"deadlock at {time_ns:g} ns: {told}")

    def __reduce__(self) -> tuple[type["DeadlockError"], tuple[float, list[tuple[str, str]]]]:
        """Let it travel between processes."""
        return type(self), (self.time_ns, self.waiting)

"""The log of an application, whose lines tell the time of the simulation."""

import logging
from typing import Any

from backends.squid.standin.state import STATE

__all__ = ["LogManager", "SimTimeFilter"]

_FORMAT = "%(levelname)s:%(simtime)s ns:%(name)s:%(message)s"


class SimTimeFilter(logging.Filter):
    """Adds ``simtime``, in ns, to the records that pass."""

    def filter(self, record: Any) -> bool:
        """Let everything pass."""
        record.simtime = STATE.now_ns()
        return True


class LogManager:
    """Loggers below one named ``Stack``, which writes to stderr unless told otherwise."""

    STACK_LOGGER = "Stack"

    @classmethod
    def get_stack_logger(cls, sub_logger: str | None = None) -> logging.Logger:
        """Return the logger, or one below it."""
        logger = logging.getLogger(cls.STACK_LOGGER)
        if logger.propagate:
            # Once: a script may take all handlers away, and wants it to stay so.
            logger.propagate = False
            cls._add(logging.StreamHandler())
        return logger if sub_logger is None else logger.getChild(sub_logger)

    @classmethod
    def set_log_level(cls, level: int | str) -> None:
        """Set the level from which on lines are written."""
        cls.get_stack_logger().setLevel(level)

    @classmethod
    def get_log_level(cls) -> int:
        """Return the level that was set."""
        return cls.get_stack_logger().level

    @classmethod
    def log_to_file(cls, path: str) -> None:
        """Write lines to a file too, which is overwritten."""
        cls.get_stack_logger()
        cls._add(logging.FileHandler(path, mode="w"))

    @classmethod
    def _add(cls, handler: logging.Handler) -> None:
        handler.setFormatter(logging.Formatter(_FORMAT))
        handler.addFilter(SimTimeFilter())
        logging.getLogger(cls.STACK_LOGGER).addHandler(handler)


def forget() -> None:
    """Undo what :class:`LogManager` did to the logger, files closed."""
    logger = logging.getLogger(LogManager.STACK_LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)

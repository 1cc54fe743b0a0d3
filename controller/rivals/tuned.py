"""The settings that tuning found for the allocators, kept in ``controller/data/tuned.toml``."""

import tomllib
from functools import cache
from importlib.resources import files

__all__ = ["tuned"]


def tuned(name: str) -> dict[str, float]:
    """Return the tuned settings of an allocator, empty where it has none.

    >>> tuned("nobody")
    {}
    """
    return dict(_all().get(name, {}))


@cache
def _all() -> dict[str, dict[str, float]]:
    text = files("controller").joinpath("data", "tuned.toml").read_text(encoding="utf-8")
    return {
        name: {lever: float(value) for lever, value in settings.items()}
        for name, settings in tomllib.loads(text).get("settings", {}).items()
    }

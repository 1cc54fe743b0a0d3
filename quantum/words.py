"""Words that a person may have meant."""

import difflib
from collections.abc import Sequence

__all__ = ["near"]


def near(word: str, known: Sequence[str]) -> str:
    """Return a phrase with the known names close to a word, empty where none is.

    >>> near("surfnt", ["surfnet", "abilene"])
    '; did you mean surfnet'
    """
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lower), n=4, cutoff=0.6)
    return f"; did you mean {', '.join(lower[name] for name in close)}" if close else ""

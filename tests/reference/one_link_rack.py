"""The file of the smallest rack: two nodes, one link, one time controller that measures it."""

__all__ = ["one_link"]


def one_link(name: str, tagger: str = "", *, head: str = "", address: str = "stub") -> str:
    """Return the text; ``head`` comes before the nodes, ``tagger`` are more lines on it."""
    return f"""
name = "{name}"
{head}
[[node]]
name = "a"
[[node]]
name = "b"
[[link]]
between = ["a", "b"]
instrument = "tagger"
rate_hz = 3000.0
fidelity = 0.9
[[instrument]]
name = "tagger"
kind = "id900"
address = "{address}"
{tagger}
"""

"""The installed allocators: which can be loaded, and the table of them in ``docs/arena.md``.

``python -m controller.arena.roster`` writes that table anew.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from controller.rivals.allocator import Allocator, find, known
from quantum.errors import InputError

__all__ = ["LADDER", "chosen", "installed", "page_with_roster", "roster"]

#: What DPEM is made of, rung by rung from above; each adds one thing to the one that follows.
LADDER = (
    "dpem",
    "dpem-federated",
    "dpem-alone",
    "dpem-frozen",
    "dpem-forecast",
    "mean-rate",
    "uniform",
    "on-demand",
)
#: dpem with less around its learning; as dear as dpem itself, so they have to be named.
_APART = ("dpem-federated", "dpem-alone")
#: Judged first where nobody says who is to be judged.
_OURS = "dpem"
_BEGIN, _END = "<!-- roster: begin -->", "<!-- roster: end -->"


def installed() -> tuple[dict[str, Allocator], dict[str, str]]:
    """Return the allocators that can be loaded, ours first, and why the others cannot."""
    found, missing = dict[str, Allocator](), dict[str, str]()
    for name in sorted(known(), key=lambda name: (name != _OURS, name)):
        try:
            found[name] = find(name)
        except ModuleNotFoundError as wrong:
            missing[name] = f"{wrong.name} is not installed"
    return found, missing


def chosen(text: str) -> list[str]:
    """Read a list of allocators; ``all`` stands for every installed one that is not named.

    All but the rungs of the ladder that learn: these are dpem with less, and cost as much.

    >>> chosen("mean-rate, uniform")
    ['mean-rate', 'uniform']
    >>> chosen("uniform,all")[0]
    'uniform'
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names.count("all") > 1:
        raise InputError("--allocators names 'all' twice")
    if "all" in names:
        named = set(names)
        place = names.index("all")
        others = [name for name in installed()[0] if name not in (*named, *_APART)]
        names[place : place + 1] = others
    return names


def roster(allocators: Sequence[Allocator]) -> str:
    """Return a Markdown table of allocators, as the arena's page shows it."""
    lines = ["| allocator | decides | what it does | published in |", "|---|---|---|---|"]
    for one in allocators:
        where = "centrally" if one.central else "at the nodes"
        lines.append(f"| `{one.name}` | {where} | {one.sentence} | {one.paper or 'here'} |")
    return "\n".join(lines)


def page_with_roster(page: str, allocators: Sequence[Allocator]) -> str:
    """Return the page with its table written anew."""
    table = f"{_BEGIN}\n\n{roster(allocators)}\n\n{_END}"
    whole, count = re.subn(f"{_BEGIN}.*{_END}", lambda _: table, page, flags=re.DOTALL)
    if count != 1:
        raise InputError(f"the page needs one {_BEGIN} ... {_END}")
    return whole


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "arena.md"
    page.write_text(page_with_roster(page.read_text(), list(installed()[0].values())))

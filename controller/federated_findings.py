"""What federated experiments say of the claims: privacy costs little, liars are withstood."""

from collections.abc import Sequence

import msgspec

from controller.audit import Audit

__all__ = ["PLAIN", "Finding", "Row", "findings"]

#: What privacy may cost, in points of the bound, and what must be left where clients lie.
_DEAREST, _LEAST_KEPT = 2.0, 0.95
#: The scheme of a textbook, which neither clips nor drops.
PLAIN = "liars, plain mean"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One scheme on one task, over all seeds, beside no privacy and no liars.

    ``loss`` is what it lost against them, paired by seed, with an interval of Student's t (95 %);
    ``kept`` the share that it kept, with a bootstrap interval. No interval with one seed, no share
    where there is nothing to keep. ``bounded`` is false for the plain mean of a textbook.
    """

    task: str
    scheme: str
    privacy: str
    aggregator: str
    bounded: bool
    poison: float
    attack: str | None
    epsilon: float | None
    delta: float | None
    federated_rounds: int
    performance: float
    performances: tuple[float, ...]
    loss: float
    loss_low: float | None
    loss_high: float | None
    kept: float | None
    kept_low: float | None
    kept_high: float | None
    dropped: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say of a claim: ``holds`` is None where the interval leaves it open."""

    claim: str
    value: float
    low: float | None
    high: float | None
    holds: bool | None


def findings(rows: Sequence[Row], audits: Sequence[Audit]) -> list[Finding]:
    """Say which claims hold: what privacy costs, what liars can do, what an observer learned."""
    found = []
    for row in rows:
        if row.task == "policy" and row.poison == 0.0 and row.privacy != "none":
            found.append(
                Finding(
                    claim=f"policy, {row.scheme}: privacy costs at most {_DEAREST:g} points",
                    value=row.loss,
                    low=row.loss_low,
                    high=row.loss_high,
                    holds=_below(_DEAREST, row.loss_low, row.loss_high),
                )
            )
        if row.kept is None or row.poison == 0.0 or row.privacy != "none":
            continue
        keeps = _below(-_LEAST_KEPT, _minus(row.kept_high), _minus(row.kept_low))
        plain = row.scheme == PLAIN
        said = "keeps less than" if plain else "keeps at least"
        found.append(
            Finding(
                claim=f"{row.task}, {row.scheme}: {said} {_LEAST_KEPT:.0%}",
                value=row.kept,
                low=row.kept_low,
                high=row.kept_high,
                holds=keeps if keeps is None else keeps != plain,
            )
        )
    found += [
        Finding(
            claim=f"audit, {one.privacy}: the bound stays below the stated {one.epsilon:.2f}",
            value=one.epsilon_low,
            low=one.epsilon_low,
            high=None,
            holds=one.holds,
        )
        for one in audits
    ]
    return found


def _below(limit: float, low: float | None, high: float | None) -> bool | None:
    """Return whether an interval lies at or below a limit, None where it is on both sides.

    >>> _below(2.0, 0.1, 1.9), _below(2.0, 2.1, 3.0), _below(2.0, 1.0, 3.0)
    (True, False, None)
    """
    if low is None or high is None:
        return None
    if high <= limit:
        return True
    return False if low > limit else None


def _minus(value: float | None) -> float | None:
    return None if value is None else -value

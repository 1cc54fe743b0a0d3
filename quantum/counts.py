"""Raw results of parity tests: how often a pair passed or failed in each basis."""

from typing import TYPE_CHECKING

import msgspec

from quantum.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Counts", "Tally"]


class Tally(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"passed": "pass", "failed": "fail"},
):
    """Passes and fails in one basis (keys ``pass`` and ``fail`` in JSON)."""

    passed: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        for name, number in (("pass", self.passed), ("fail", self.failed)):
            if type(number) is not int or number < 0:
                raise InputError(f"counts: {name} must be a whole number >= 0, got {number!r}")

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.passed + other.passed, self.failed + other.failed)


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tests that agreed (``passed``) or disagreed with the parity of phi_plus, by basis.

    >>> Counts(xx=Tally(3, 1)) + Counts(zz=Tally(2, 0))
    Counts(xx=Tally(passed=3, failed=1), yy=Tally(passed=0, failed=0), zz=Tally(passed=2, failed=0))
    """

    xx: Tally = Tally()
    yy: Tally = Tally()
    zz: Tally = Tally()

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.xx + other.xx, self.yy + other.yy, self.zz + other.zz)

    @property
    def passed(self) -> int:
        """Passes over all bases."""
        return self.xx.passed + self.yy.passed + self.zz.passed

    @property
    def shots(self) -> int:
        """Tests over all bases."""
        return self.passed + self.xx.failed + self.yy.failed + self.zz.failed

    @staticmethod
    def from_array(table: "NDArray[np.int64]") -> "Counts":
        """Read a ``(3, 2)`` array: bases xx, yy, zz by (pass, fail)."""
        xx, yy, zz = (Tally(int(row[0]), int(row[1])) for row in table)
        return Counts(xx, yy, zz)

    def to_array(self) -> "NDArray[np.int64]":
        """Return the ``(3, 2)`` array that :meth:`from_array` reads."""
        # Here and not above: dpem --help comes by this file, and needs no arrays.
        import numpy as np

        return np.array([[t.passed, t.failed] for t in (self.xx, self.yy, self.zz)], dtype=np.int64)

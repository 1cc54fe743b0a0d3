"""The driver kit passes our driver and catches drivers that are broken on purpose."""

import time
from collections.abc import Iterator

import pytest

from backends.drivers.capabilities import Coincidences
from backends.drivers.conformance import check_pair_tester
from backends.drivers.id900 import ID900
from backends.rack import StubProcess
from quantum.errors import DeviceError


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess("id900", ["--speed", "20"]) as process:
        yield process


class Replays(ID900):
    """Answers every reading with the first one."""

    first: Coincidences | None = None

    def coincidences(self, integration_s: float) -> Coincidences:
        if self.first is None:
            self.first = super().coincidences(integration_s)
        return self.first


class Frozen(ID900):
    """Dates old counts anew."""

    first: Coincidences | None = None

    def coincidences(self, integration_s: float) -> Coincidences:
        seen = super().coincidences(integration_s)
        self.first = self.first or seen
        return Coincidences(
            self.first.pairs,
            self.first.singles,
            integration_s,
            seen.not_before_s,
            seen.not_after_s,
        )


class IgnoresBasis(ID900):
    """Measures ZZ whatever was asked."""

    def set_basis(self, basis: str) -> None:
        super().set_basis("zz")


class StaysOpen(ID900):
    """Answers from memory when closed."""

    def ping(self) -> None:
        return None


class AlwaysCounts(ID900):
    """Makes up counts for a window that cannot be."""

    def coincidences(self, integration_s: float) -> Coincidences:
        try:
            return super().coincidences(integration_s)
        except DeviceError:
            now = time.monotonic()
            return Coincidences(((1, 0), (0, 1)), (1, 1, 1, 1), integration_s, now, now)


def failed(stub: StubProcess, kind: type[ID900]) -> set[str]:
    findings = check_pair_tester(
        lambda: kind(stub.address, settle_s=0.004, shared_clock=True), integration_s=0.005
    )
    assert len(findings) == 10
    return {finding.check for finding in findings if not finding.passed}


@pytest.mark.parametrize(
    ("kind", "caught"),
    [
        (ID900, set()),
        (Replays, {"windows are fresh and possible"}),
        (Frozen, {"windows are fresh and possible"}),
        (IgnoresBasis, {"refuses unknown bases", "bases are told apart"}),
        (StaysOpen, {"closes twice and stays closed"}),
        (AlwaysCounts, {"counting needs a basis first", "refuses impossible windows"}),
    ],
)
def test_findings(stub: StubProcess, kind: type[ID900], caught: set[str]) -> None:
    seen = failed(stub, kind)
    assert caught <= seen
    if kind is ID900:
        assert seen == set()

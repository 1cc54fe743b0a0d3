"""The adapters of closed vendor libraries, against mocks of those libraries.

Mocks, because the libraries are closed and talk to their instruments only. They hold what the
adapters' docstrings say of the vendors' names, and cannot show that the names are right.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.drivers.capabilities import TimeTagger
from backends.drivers.tagged_pairs import TaggedPairs
from quantum.errors import DeviceError, DeviceLimit, DeviceTimeout

ADAPTERS = Path(__file__).parents[2] / "examples" / "adapters"
#: Front panel number and picosecond of each tag: two pairs Alice + with Bob +, one Alice - Bob -.
TAGS = [(1, 1000), (3, 1400), (2, 50_000), (4, 50_300), (1, 90_000), (3, 90_100)]


def adapter(name: str, monkeypatch: pytest.MonkeyPatch, **vendor: Any) -> Any:
    for module, fake in vendor.items():
        monkeypatch.setitem(sys.modules, module, fake)
    spec = importlib.util.spec_from_file_location(name, ADAPTERS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Swabian(types.ModuleType):
    """What the adapter uses of the vendor's module."""

    def __init__(self, *, overflow: bool = False, finishes: bool = True) -> None:
        super().__init__("TimeTagger")
        self.freed = 0
        self.levels: dict[int, float] = {}
        outer = self

        class Tagger:
            def setTriggerLevel(self, channel: int, volts: float) -> None:  # noqa: N802
                outer.levels[channel] = volts

            def getSerial(self) -> str:  # noqa: N802
                return "1234ABC"

            def getModel(self) -> str:  # noqa: N802
                return "Time Tagger Ultra"

        class Data:
            hasOverflows = overflow  # noqa: N815

            def getTimestamps(self) -> np.ndarray:  # noqa: N802
                return np.array([ps for _, ps in TAGS], dtype=np.int64)

            def getChannels(self) -> np.ndarray:  # noqa: N802
                return np.array([channel for channel, _ in TAGS], dtype=np.int32)

        class TimeTagStream:
            def __init__(self, tagger: Tagger, most: int, channels: list[int]) -> None:
                self.duration = 0
                assert channels == [1, 2, 3, 4]

            def startFor(self, duration: int) -> None:  # noqa: N802
                self.duration = duration

            def waitUntilFinished(self, timeout: int) -> bool:  # noqa: N802
                return finishes

            def getData(self) -> Data:  # noqa: N802
                return Data()

            def getCaptureDuration(self) -> int:  # noqa: N802
                return self.duration

        def create(serial: str) -> Tagger:
            if serial == "missing":
                raise RuntimeError("no such device")
            return Tagger()

        def free(tagger: Tagger) -> None:
            self.freed += 1

        vars(self).update(
            createTimeTagger=create,
            freeTimeTagger=free,
            TimeTagStream=TimeTagStream,
            getVersion=lambda: "2.17.4",
        )


def test_swabian(monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = Swabian()
    tagger = adapter("swabian_tagger", monkeypatch, TimeTagger=vendor).SwabianTagger()
    assert isinstance(tagger, TimeTagger)
    assert vendor.levels == {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}
    assert tagger.identify().serial == "1234ABC"
    seen = TaggedPairs(tagger).coincidences(0.01)
    assert seen.pairs == ((2, 0), (0, 1)) and seen.singles == (2, 1, 2, 1)
    tagger.safe_state()
    tagger.close()
    tagger.close()
    assert vendor.freed == 1
    with pytest.raises(DeviceError, match="connection is closed"):
        tagger.ping()


def test_swabian_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    module = adapter("swabian_tagger", monkeypatch, TimeTagger=Swabian(overflow=True))
    with pytest.raises(DeviceLimit, match="lost tags"):
        TaggedPairs(module.SwabianTagger()).coincidences(0.01)
    with pytest.raises(DeviceLimit, match="lost tags"):
        TaggedPairs(module.SwabianTagger(most_tags=len(TAGS))).coincidences(0.01)
    with pytest.raises(DeviceError, match="no such device"):
        module.SwabianTagger("missing")
    module = adapter("swabian_tagger", monkeypatch, TimeTagger=Swabian(finishes=False))
    with pytest.raises(DeviceTimeout):
        module.SwabianTagger().tags(0.01)


class Qutag(types.ModuleType):
    """What the adapter uses of the vendor's wrapper: tags in units of its time base."""

    def __init__(self, *, lost: int = 0) -> None:
        super().__init__("QuTAG")
        self.closed = 0
        outer = self

        class Unit:
            def __init__(self) -> None:
                self.reads = 0

            def setBufferSize(self, size: int) -> None:  # noqa: N802
                self.size = size

            def enableChannels(self, channels: tuple[int, ...]) -> None:  # noqa: N802
                assert channels == (1, 2, 3, 4)

            def getTimebase(self) -> float:  # noqa: N802
                return 100e-12

            def getDeviceInfo(self) -> int:  # noqa: N802
                return 77

            def getDataLost(self) -> int:  # noqa: N802
                return lost if self.reads > 1 else 5

            def getLastTimestamps(self, reset: bool) -> tuple[list[int], list[int], int]:  # noqa: N802
                assert reset
                self.reads += 1
                # What lies behind the stretch, and rubbish behind the valid part of the buffer.
                late = (1, 1000 + 10**11)
                tags = [*TAGS, late]
                times = [ps // 100 for _, ps in tags]
                return [*times, 0, 0], [*(c for c, _ in tags), 1, 1], len(tags)

            def deInitialize(self) -> None:  # noqa: N802
                outer.closed += 1

        vars(self).update(QuTAG=Unit)


def test_qutag(monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = Qutag()
    tagger = adapter("qutag_tagger", monkeypatch, QuTAG=vendor).QutagTagger()
    assert isinstance(tagger, TimeTagger)
    seen = TaggedPairs(tagger).coincidences(0.01)
    assert seen.pairs == ((2, 0), (0, 1)) and seen.singles == (2, 1, 2, 1)
    assert tagger.identify().serial == "77"
    tagger.safe_state()
    tagger.close()
    tagger.close()
    assert vendor.closed == 1


def test_qutag_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    module = adapter("qutag_tagger", monkeypatch, QuTAG=Qutag(lost=3))
    with pytest.raises(DeviceLimit, match="lost tags"):
        TaggedPairs(module.QutagTagger()).coincidences(0.01)
    broken = types.ModuleType("QuTAG")
    module = adapter("qutag_tagger", monkeypatch, QuTAG=broken)
    with pytest.raises(DeviceError, match="quTAG"):
        module.QutagTagger()

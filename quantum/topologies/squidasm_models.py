"""Devices and links as SquidASM's files have them, and what they come to in a network here.

Fields, units (ns, km, dB/km) and defaults are those of SquidASM and netsquid_netbuilder; fields
that say nothing about a network here are passed over, as both packages pass over unknown ones.
"""

# ruff: noqa: N815 - fields are named as files name them.
import math
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from quantum.errors import InputError
from quantum.links.model import read_model
from quantum.topologies.entry import LinkEntry

__all__ = ["DEVICES", "LINKS", "Device", "Link", "Source", "Standing", "read_block"]

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Ns = Annotated[float, msgspec.Meta(ge=0.0)]
_Km = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
_Loss = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
_LIGHT_KM_PER_S = 299_792.458
_Speed = Annotated[float, msgspec.Meta(gt=0.0, le=_LIGHT_KM_PER_S)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
#: Attempts of a link without length follow one another after this time.
_LEAST_CYCLE_S = 1e-6


@dataclass(frozen=True)
class Standing:
    """What a device comes to: times in s, rates per s, probabilities of a swap's two errors."""

    qubits: int
    t1_s: float
    t2_s: float
    gate_depolarizing: float
    readout_error: float
    swap_hz: float


@dataclass(frozen=True)
class Source:
    """What a link comes to: its state, as ``fidelity`` or as a ``model``, and pairs per second."""

    rate_hz: float
    length_km: float | None = None
    fidelity: float | None = None
    model: dict[str, Any] | None = None

    def link(self, a: str, b: str) -> LinkEntry:
        """Return the link between two nodes."""
        return LinkEntry(
            a=a, b=b, length_km=self.length_km, fidelity=self.fidelity, model=self.model
        )


class Generic(msgspec.Struct, frozen=True):
    """A device whose qubits are all alike."""

    num_qubits: _Count = 2
    T1: _Ns = 1e10
    T2: _Ns = 1e9
    single_qubit_gate_time: _Ns = 1e3
    two_qubit_gate_time: _Ns = 1e5
    measure_time: _Ns = 1e4
    two_qubit_gate_depolar_prob: _Share = 0.01

    def standing(self) -> Standing:
        """Return what it comes to."""
        return Standing(
            qubits=self.num_qubits,
            t1_s=_seconds(self.T1),
            t2_s=_seconds(self.T2),
            gate_depolarizing=_joint(self.two_qubit_gate_depolar_prob),
            readout_error=0.0,
            swap_hz=_per_second(
                self.two_qubit_gate_time + self.single_qubit_gate_time + self.measure_time
            ),
        )


class Nv(msgspec.Struct, frozen=True):
    """An electron that talks to the network, and carbons that store: their times count here."""

    num_qubits: _Count = 2
    prob_error_0: _Share = 0.05
    prob_error_1: _Share = 0.005
    ec_gate_depolar_prob: _Share = 0.008
    carbon_T1: _Ns = 1.5e11
    carbon_T2: _Ns = 1.5e9
    ec_controlled_dir_x: _Ns = 5e5
    measure: _Ns = 3.7e3

    def standing(self) -> Standing:
        """Return what it comes to."""
        return Standing(
            qubits=self.num_qubits,
            t1_s=_seconds(self.carbon_T1),
            t2_s=_seconds(self.carbon_T2),
            gate_depolarizing=_joint(self.ec_gate_depolar_prob),
            readout_error=0.5 * (self.prob_error_0 + self.prob_error_1),
            swap_hz=_per_second(2.0 * self.ec_controlled_dir_x + 2.0 * self.measure),
        )


class _Timed(msgspec.Struct, frozen=True):
    """A link whose time is given, or that of light over its length."""

    length: _Km | None = None
    speed_of_light: _Speed = 2e5

    def between(self, to_a: float, to_b: float) -> Any:
        """Return the same link with arms of two lengths."""
        return msgspec.structs.replace(self, length=to_a + to_b)

    def _rate_hz(self, chance: float, cycle_ns: float | None) -> float:
        if cycle_ns is None:
            cycle_ns = (self.length or 0.0) / self.speed_of_light * 1e9
        return chance / max(cycle_ns * 1e-9, _LEAST_CYCLE_S)


class Perfect(_Timed, frozen=True):
    """Perfect pairs after a fixed time."""

    state_delay: _Ns | None = None

    def source(self, place: str) -> Source:
        """Return what it comes to."""
        delay = 1000.0 if self.state_delay is None and self.length is None else self.state_delay
        return Source(self._rate_hz(1.0, delay), self.length, fidelity=1.0)


class Depolarise(_Timed, frozen=True, kw_only=True):
    """Werner pairs, one try a cycle."""

    fidelity: _Share
    prob_success: _Share
    t_cycle: _Ns | None = None

    def source(self, place: str) -> Source:
        """Return what it comes to."""
        return Source(
            self._rate_hz(self.prob_success, self.t_cycle), self.length, fidelity=self.fidelity
        )


class _Heralded(msgspec.Struct, frozen=True):
    """Photons of both nodes meet between them; ``length`` is that of both arms together."""

    length: _Km | None = None
    p_loss_init: _Share = 0.0
    p_loss_length: _Loss = 0.25
    speed_of_light: _Speed = 2e5
    emission_fidelity: _Share = 1.0
    dark_count_probability: _Share = 0.0
    detector_efficiency: _Share = 1.0
    visibility: _Share = 1.0
    num_resolving: bool = False
    length_A: _Km | None = None
    length_B: _Km | None = None
    p_loss_init_A: _Share | None = None
    p_loss_init_B: _Share | None = None
    p_loss_length_A: _Loss | None = None
    p_loss_length_B: _Loss | None = None
    emission_fidelity_A: _Share | None = None
    emission_fidelity_B: _Share | None = None

    def between(self, to_a: float, to_b: float) -> Any:
        """Return the same link with arms of two lengths."""
        return msgspec.structs.replace(self, length=None, length_A=to_a, length_B=to_b)

    def _arms_km(self, place: str) -> tuple[float, float]:
        half = None if self.length is None else self.length / 2.0
        arms = [half if a is None else a for a in (self.length_A, self.length_B)]
        if arms[0] is None or arms[1] is None:
            raise InputError(f"{place}: cfg.length must be given, in km, or length_A and length_B")
        return arms[0], arms[1]

    def _sides(self, name: str) -> tuple[float, float]:
        both = float(getattr(self, name))
        left, right = (getattr(self, f"{name}_{side}") for side in "AB")
        return both if left is None else left, both if right is None else right

    def _source(self, place: str, model: dict[str, Any]) -> Source:
        arms = self._arms_km(place)
        length = sum(arms)
        # Loss by side is all in the collection, so that arms may differ in it.
        collected = [
            (1.0 - lost) * 10.0 ** (-loss * arm / 10.0)
            for lost, loss, arm in zip(
                self._sides("p_loss_init"), self._sides("p_loss_length"), arms, strict=True
            )
        ]
        block = {
            **model,
            "midpoint": arms[0] / length if length > 0.0 else 0.5,
            "loss_db_per_km": 0.0,
            "group_index": _LIGHT_KM_PER_S / self.speed_of_light,
            "collection_efficiency": collected,
            "detector_efficiency": self.detector_efficiency,
            "dark_count_probability": self.dark_count_probability,
            "visibility": self.visibility,
            "number_resolving": self.num_resolving,
            "cycle_s": _LEAST_CYCLE_S,
        }
        try:
            rate_hz = read_model({**block, "length_km": length}).heralded().rate_hz
        except InputError as wrong:
            raise InputError(f"{place}: cfg: {wrong}") from None
        return Source(rate_hz, length, model=block)


class SingleClick(_Heralded, frozen=True):
    """One photon makes a pair; a node emits one with the chance ``bright_state``."""

    bright_state: _Share = 0.01

    def source(self, place: str) -> Source:
        """Return what it comes to."""
        if self._sides("emission_fidelity") != (1.0, 1.0):
            raise InputError(f"{place}: cfg.emission_fidelity must be 1 with a single click")
        return self._source(place, {"model": "single_click", "bright_state": self.bright_state})


class DoubleClick(_Heralded, frozen=True):
    """Two photons make a pair."""

    def source(self, place: str) -> Source:
        """Return what it comes to."""
        emitted = list(self._sides("emission_fidelity"))
        return self._source(place, {"model": "double_click", "emission_fidelity": emitted})


Device = Generic | Nv
Link = Perfect | Depolarise | SingleClick | DoubleClick

DEVICES: dict[str, type[Any]] = {"generic": Generic, "nv": Nv}
LINKS: dict[str, type[Any]] = {
    "perfect": Perfect,
    "depolarise": Depolarise,
    "heralded": DoubleClick,
    "heralded-double-click": DoubleClick,
    "heralded-single-click": SingleClick,
}

_Block = TypeVar("_Block")


def read_block(place: str, given: dict[Any, Any] | None, kind: type[_Block]) -> _Block:
    """Read the fields of a device or a link; :class:`InputError` names the field."""
    try:
        return msgspec.convert(given or {}, kind, strict=False)
    except msgspec.ValidationError as wrong:
        raise InputError(f"{place}: {wrong}") from None


def _seconds(time_ns: float) -> float:
    """Turn ns into s, where 0 means no decay."""
    return time_ns * 1e-9 if time_ns > 0.0 else math.inf


def _joint(each: float) -> float:
    """Return the joint depolarising of a Bell measurement whose qubits depolarise one by one."""
    return 1.0 - (1.0 - each) ** 2


def _per_second(time_ns: float) -> float:
    return 1e9 / time_ns if time_ns > 0.0 else math.inf

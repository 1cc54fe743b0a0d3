"""From settings to rates: what reaches each detector at one moment, exactly.

A pair is a state of two photons (4, 4) that fibres, squeezers and plates turn by Jones matrices.
Every chance is exact; nothing is drawn here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench.detector import DetectorSetup, counted_hz, efficiency, noise_hz
from firmware_stubs.bench.detector import shown_share as shown
from firmware_stubs.bench.knobs import Knobs
from firmware_stubs.bench.polarisation import (
    Complex,
    analyser,
    joint_chances,
    rotation,
    side_by_side,
    squeezers,
    twirled,
)
from firmware_stubs.bench.setup import BenchSetup
from firmware_stubs.bench.wander import Fibre, Wander
from quantum.bell import correlators, density_matrix

__all__ = ["Glow", "Sources", "arms"]

Floats = NDArray[np.float64]

#: What drifts take off the visibility of each link.
Lost = Sequence[float]

_EYE = np.eye(2, dtype=np.complex128)


@dataclass(frozen=True, eq=False)
class Glow:
    """Mean rates at one moment: coincidences (2, 2) and counts (4,), in Hz; ``link`` -1: none."""

    both_hz: Floats
    counts_hz: Floats
    link: int


def arms(setup: BenchSetup, knobs: Knobs, time_s: float) -> list[tuple[int, int] | None]:
    """Return which (link, arm) leads to Alice's analyser and which to Bob's; arm 0 is Alice's."""
    if not setup.switched:
        return [(0, 0), (0, 1)]
    fibres = {
        port: (link, arm)
        for link in range(len(setup.link))
        for arm, port in enumerate(setup.inputs(link))
    }
    astray = dict(knobs.misroutes)
    found: list[tuple[int, int] | None] = [None, None]
    for entry, exit_, since_s in knobs.routes:
        where = astray.get(entry, exit_)
        if where in setup.outputs and time_s >= since_s + setup.switch_settle_s:
            found[setup.outputs.index(where)] = fibres.get(entry)
    return found


class Sources:
    """The links' sources and fibres, which wander, and what they send to the detectors."""

    def __init__(self, setup: BenchSetup, seed: int) -> None:
        self.setup = setup
        self.fibres = [
            tuple(
                Fibre(
                    seed,
                    f"fibre {number} {arm}",
                    link.fibre_walk_rad_per_sqrt_s,
                    link.day_share,
                    link.day_s,
                    link.straight,
                )
                for arm in range(2)
            )
            for number, link in enumerate(setup.link)
        ]
        self._phases = [
            Wander(seed, f"phase {n}", link.phase_walk_rad_per_sqrt_s, link.relax_s)
            for n, link in enumerate(setup.link)
        ]
        self._visibilities = [
            Wander(seed, f"visibility {n}", link.visibility_walk_per_sqrt_s, link.relax_s)
            for n, link in enumerate(setup.link)
        ]
        self._states: dict[tuple[float, ...], Complex] = {}

    def state(self, link: int, time_s: float, lost: Lost) -> Complex:
        """Return the source's state (4, 4); ``lost`` is what drifts take off visibilities."""
        setup = self.setup.link[link]
        fade = min(1.0, max(0.0, 1.0 + self._visibilities[link].at(time_s) - lost[link]))
        phase = setup.phase_rad + self._phases[link].at(time_s)
        key = (*setup.populations, fade, phase)
        if key not in self._states:
            c = correlators(setup.populations) * fade
            plain = density_matrix(np.diag([1.0, c[0], -c[1], c[2]]))
            if len(self._states) > 256:
                self._states.clear()
            turn = np.kron(rotation(np.array([0.0, 0.0, phase])), np.eye(2))
            self._states[key] = turn @ plain @ turn.conj().T
        return self._states[key]

    def arrived(self, link: int, knobs: Knobs, time_s: float, lost: Lost) -> Complex:
        """Return the state (4, 4) in front of the analysers."""
        there = self.setup.link[link]
        alice, bob = (fibre.at(time_s) for fibre in self.fibres[link])
        alice = squeezers(knobs.voltages_mv[link], there.half_wave_mv) @ alice
        turn = side_by_side(alice, bob)
        state: Complex = turn @ self.state(link, time_s, lost) @ turn.conj().T
        if knobs.scrambling[link]:
            state = twirled(state, alice=True, bob=False)
        return state

    def rate_hz(self, link: int, knobs: Knobs) -> float:
        """Return the pairs per second that a source emits."""
        return self.setup.link[link].rate_hz * knobs.pump_mw / self.setup.pump_mw

    def glow(self, knobs: Knobs, time_s: float, lost: Lost) -> Glow:
        """Return the mean rates at a moment."""
        seen = arms(self.setup, knobs, time_s)
        shares, photons_hz = np.full((2, 2), 0.5), np.zeros(2)
        together, extra = np.zeros((2, 2)), 0.0
        link = -1
        passage = 10.0 ** (-self.setup.switch_loss_db / 10.0) if self.setup.switched else 1.0
        plates = [analyser(*knobs.angles_deg[2 * side : 2 * side + 2]) for side in range(2)]
        alice, bob = seen
        if alice is not None and bob is not None and alice[0] == bob[0] and alice[1] != bob[1]:
            link = alice[0]
            together = joint_chances(self._of(alice, 0, knobs, time_s, lost), *plates)
            shares = np.stack([together.sum(axis=1), together.sum(axis=0)])
            pulse_hz = self.setup.link[link].pulse_hz
            extra = self.rate_hz(link, knobs) / pulse_hz if pulse_hz > 0.0 else 0.0
        for side, arm in enumerate(seen):
            if arm is None:
                continue
            photons_hz[side] = passage * (
                self.rate_hz(arm[0], knobs) * self.setup.link[arm[0]].transmission[arm[1]]
            )
            if link < 0:
                state = self._of(arm, side, knobs, time_s, lost)
                own = (plates[0], _EYE) if side == 0 else (_EYE, plates[1])
                shares[side] = joint_chances(state, *own).sum(axis=1 - side)
        return self._detect(knobs, photons_hz, shares, together, extra, link, passage)

    def _of(
        self, arm: tuple[int, int], side: int, knobs: Knobs, time_s: float, lost: Lost
    ) -> Complex:
        """Return a link's state with the photon of ``arm`` first (side 0) or second."""
        state = self.arrived(arm[0], knobs, time_s, lost)
        if arm[1] == side:
            return state
        return state.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)

    def _detect(
        self,
        knobs: Knobs,
        photons_hz: Floats,
        shares: Floats,
        together: Floats,
        extra: float,
        link: int,
        passage: float,
    ) -> Glow:
        reach, counts = np.zeros(4), np.zeros(4)
        for number, setup in enumerate(self.setup.detector):
            if knobs.latched[number]:
                continue
            reach[number], counts[number] = click(
                setup,
                knobs.bias_ua[number],
                knobs.trigger_mv[number],
                float(photons_hz[number // 2] * shares[number // 2, number % 2]),
            )
        both = np.zeros((2, 2))
        if link >= 0:
            arrive = math.prod(self.setup.link[link].transmission) * passage * passage
            # Two pairs of one pulse: photons that do not belong together, Poisson statistics.
            mixed = together + extra * np.outer(shares[0], shares[1])
            both = self.rate_hz(link, knobs) * arrive * mixed * np.outer(reach[:2], reach[2:])
        return Glow(both, counts, link)


def click(
    setup: DetectorSetup, bias_ua: float, trigger_mv: float, photons_hz: float
) -> tuple[float, float]:
    """Return the chance that a photon is counted, and the rate of counts."""
    share = shown(setup, trigger_mv)
    chance = efficiency(setup, bias_ua) * share
    noise = noise_hz(setup, bias_ua, trigger_mv)
    arriving = photons_hz * chance + noise
    counts = counted_hz(setup, arriving)
    live = 1.0 / (1.0 + arriving / (1.0 - setup.afterpulse) * setup.dead_time_s)
    return chance * live, counts

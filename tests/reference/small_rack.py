"""A rack of two links with everything that a link can have, on stubs that move fast."""

from pathlib import Path
from typing import Any

import msgspec
import zmq

__all__ = ["control", "write_small_rack"]

_LINK = """
[[link]]
between = ["hub", "{name}"]
instrument = "tagger"
rate_hz = 3000.0
fidelity = 0.95
[link.optics]
switch = "switch"
inputs = [{a}, {b}]
outputs = [17, 18]
power_dbm = -30.0
plates = ["alice-quarter", "alice-half", "bob-quarter", "bob-half"]
polarisation = "epc-{name}"
shutter = "shutter"
laser = "shutter"
laser_dbm = 10.0
bias = "nanowires"
bias_ua = 20.0
"""

_APT = """
[[instrument]]
name = "{name}"
kind = "apt"
address = "stub"
timeout_s = 1.0
[instrument.stub.switches]
velocity_deg_s = 2000.0
acceleration_deg_s2 = 40000.0
home_velocity_deg_s = 2000.0
"""

_HEAD = """
name = "small"
[calibration]
calibrate = "{calibrate}"
window_s = 2.0
alarm_below = 0.91
reached = 0.93
shots = 250
search_ps = 20000
attempts = 2
retry_s = 0.5
[stubs]
seed = {seed}
speed = 20.0
scenario = "bench.toml"
"""

_BENCH = """
[bench]
clock_drift_ps_per_s = 0.0
"""

_SOURCE = """
[[bench.link]]
rate_hz = 40000.0
fidelity = {fidelity}
skew_ps = {skew_ps}
fibre_walk_rad_per_sqrt_s = {walk}
"""


def write_small_rack(
    folder: Path, *, seed: int = 3, calibrate: str = "auto", walk: float = 0.0
) -> Path:
    """Write ``small.toml`` and its bench; return the path of the rack."""
    text = _HEAD.format(seed=seed, calibrate=calibrate)
    for node in ("hub", "north", "east"):
        text += f'\n[[node]]\nname = "{node}"\n'
    bench = _BENCH
    for number, name in enumerate(("north", "east")):
        text += _LINK.format(name=name, a=2 * number + 1, b=2 * number + 2)
        bench += _SOURCE.format(fidelity=0.96, skew_ps=(200.0, -300.0)[number], walk=walk)
    text += '\n[[instrument]]\nname = "tagger"\nkind = "id900"\naddress = "stub"\n'
    text += "integration_s = 0.01\nmax_age_s = 2.0\nsettle_s = 0.0\nshared_clock = true\n"
    text += "timeout_s = 1.0\n"
    for name, kind in (("switch", "polatis"), ("nanowires", "websq"), ("shutter", "pc_rpc")):
        text += f'\n[[instrument]]\nname = "{name}"\nkind = "{kind}"\n'
        text += 'address = "stub"\ntimeout_s = 1.0\n'
    for name in ("alice-quarter", "alice-half", "bob-quarter", "bob-half"):
        text += _APT.format(name=name)
    for name in ("north", "east"):
        text += f'\n[[instrument]]\nname = "epc-{name}"\nkind = "epc"\naddress = "stub"\n'
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    (folder / "bench.toml").write_text(bench, encoding="utf-8")
    return path


def control(address: str, **message: Any) -> dict[str, Any]:
    """Send a control message to a stub or to a bench, and return its answer."""
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.setsockopt(zmq.LINGER, 0)
        wire.connect(address)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000), "the control socket does not answer"
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        assert answer["ok"], answer
        return answer

"""Shadow mode over all kinds of a rack with optics: instruments are read, stubs are commanded.

The instruments are stubs at addresses, on a bench of their own; the supervisor starts other ones.
"""

import json
import re
from pathlib import Path
from typing import Any

from small_rack import write_small_rack

from backends.rack_stubs import RackStubs
from backends.supervisor.backend import SupervisedLab
from backends.supervisor.client import status
from backends.supervisor.places import place_of

#: Instrument, what is done to it, what is read then, and what its instrument still says.
ACTS: list[tuple[str, str, tuple[Any, ...], str, Any, str]] = [
    ("shutter", "set_open", (True,), "is_open", True, "False"),
    ("switch", "connect", ({1: 17},), "connections", {1: 17}, "{}"),
    ("nanowires", "set_bias_ua", ((5.0,) * 4,), "bias_ua", [5.0] * 4, "(0.0, 0.0, 0.0, 0.0)"),
    (
        "epc-north",
        "set_voltages_mv",
        ((100.0, 0.0, 0.0, 0.0),),
        "voltages_mv",
        [100.0, 0.0, 0.0, 0.0],
        "(0.0, 0.0, 0.0, 0.0)",
    ),
    ("alice-half", "home", (), "position_deg", 0.0, "failed: "),
]


def with_addresses(rack: Path, addresses: dict[str, str]) -> Path:
    """Write the rack again with addresses in the place of stubs."""
    text = rack.read_text(encoding="utf-8")
    for name, address in addresses.items():
        text = re.sub(
            rf'(name = "{name}"\nkind = "\w+"\naddress = )"stub"', rf'\1"{address}"', text
        )
    assert 'address = "stub"' not in text
    path = rack.with_name("instruments.toml")
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_go_to_instruments_and_acts_to_stubs(tmp_path: Path) -> None:
    own = write_small_rack(tmp_path)
    with RackStubs(own) as instruments:
        rack = with_addresses(own, instruments.addresses)
        lab = SupervisedLab(rack, mode="shadow")
        try:
            for name, act, values, read, seen, _ in ACTS:
                lab.command(name, act, *values)
                assert lab.command(name, read) == seen, "as its stub says"
            odd = status(rack).shadowed
            assert all(odd[name] >= 1 for name, *_ in ACTS)
        finally:
            lab.close()
        lines = (place_of(rack) / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        log = [json.loads(line) for line in lines]
    for name, act, _, read, _, real in ACTS:
        commanded = [e for e in log if e["event"] == "command" and e["instrument"] == name]
        assert act in {e["method"] for e in commanded}
        read_twice = [e for e in log if e["event"] == "shadow" and e["instrument"] == name]
        assert any(e["method"] == read and e["real"].startswith(real) for e in read_twice), (
            name,
            read_twice,
        )

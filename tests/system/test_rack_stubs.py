"""``dpem stub rack.toml``: every stub on one bench, in one process; what it refuses."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_rack import control, write_small_rack

from backends.drivers.apt import Apt
from backends.drivers.epc import Epc
from backends.drivers.id900 import ID900
from backends.drivers.pc_rpc import PcRpc
from backends.drivers.polatis import Polatis
from backends.drivers.websq import WebSQ
from backends.rack_stubs import RackStubs
from quantum.errors import DeviceError

DPEM = [sys.executable, "-c", "from quantum.cli import main; main()"]
STRAIGHT = "fibre_walk_rad_per_sqrt_s = 0.0\nstraight = true\n"


def straight_rack(folder: Path, events: str = "") -> Path:
    """Write a rack whose fibres leave the polarisation alone, and what happens on its bench."""
    path = write_small_rack(folder)
    hidden = folder / "bench.toml"
    text = hidden.read_text(encoding="utf-8").replace("fibre_walk_rad_per_sqrt_s = 0.0\n", STRAIGHT)
    hidden.write_text(text + events, encoding="utf-8")
    return path


def test_turning_a_plate_changes_what_the_counter_counts(tmp_path: Path) -> None:
    """Seven drivers, seven stubs, one state of light: the counts follow the half-wave plate."""
    with RackStubs(straight_rack(tmp_path)) as stubs:
        at = stubs.addresses
        shutter, switch = PcRpc(at["shutter"]), Polatis(at["switch"])
        nanowires, tagger = WebSQ(at["nanowires"]), ID900(at["tagger"], shared_clock=True)
        plates = [
            Apt(at[f"{who}-{what}"]) for who in ("alice", "bob") for what in ("quarter", "half")
        ]
        epc = Epc(at["epc-east"])
        try:
            switch.connect({3: 17, 4: 18})
            assert switch.powers_dbm((17,))[0] < -80.0, "no light before the shutter opens"
            shutter.set_open(True)
            shutter.set_output(True)
            shutter.set_power_dbm(10.0)
            assert switch.powers_dbm((17, 18)) == pytest.approx((-21.0, -21.0), abs=0.1)
            nanowires.set_bias_ua((20.0,) * 4)
            for plate in plates:
                plate.home()
            tagger.configure(0.02)
            tagger.set_basis("zz")
            tagger.set_skew_ps(-300)
            even = tagger.coincidences(0.02)
            assert even.even > 20 * even.odd
            # Half-wave plates at 45 degrees exchange Bob's outputs.
            plates[3].move_deg(45.0)
            odd = tagger.coincidences(0.02)
            assert odd.odd > 20 * odd.even
            # A turn by a quarter of a wave at 45 degrees: Z of one side against Y of the other.
            epc.set_voltages_mv((0.0, 750.0, 0.0, 0.0))
            flat = tagger.coincidences(0.02)
            assert flat.even == pytest.approx(flat.odd, rel=0.2)
            nanowires.set_bias_ua((0.0, 20.0, 20.0, 20.0))
            assert tagger.coincidences(0.02).singles[0] == 0
        finally:
            for driver in (shutter, switch, nanowires, tagger, epc, *plates):
                driver.close()


def test_a_scenario_happens_to_bench_and_instruments(tmp_path: Path) -> None:
    events = """
[[event]]
at_s = 0.0
message = { do = "drift", link = "hub-north", step = -0.5 }
[[event]]
at_s = 0.2
message = { do = "interlock", closed = false }
[[fault]]
at_s = 0.0
on = "switch"
message = { do = "fault", kind = "not_made" }
"""
    with RackStubs(straight_rack(tmp_path, events)) as stubs:
        time.sleep(0.5)
        links = control(stubs.bench, do="truth")["links"]
        # Correlators of 0.96 are halved: F = (1 + 3 c / 2) / 4.
        c = (4.0 * 0.96 - 1.0) / 3.0
        assert links["hub-north"]["fidelity"] == pytest.approx((1.0 + 1.5 * c) / 4.0)
        assert links["hub-east"]["fidelity"] == pytest.approx(0.96)
        assert control(stubs.bench, do="state")["settings"]["interlock_closed"] is False
        assert control(stubs.controls["switch"], do="state")["faults"] == ["not_made"]


def test_it_ends_with_its_parent_and_says_where_it_listens(tmp_path: Path) -> None:
    path = straight_rack(tmp_path)
    command = [*DPEM, "stub", str(path), "--until-eof", "--seed", "5", "--speed", "2"]
    done = subprocess.run(
        command, input="", capture_output=True, text=True, timeout=60.0, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines][:3] == ["tagger", "switch", "nanowires"]
    assert [line[0] for line in lines][-1] == "bench"
    assert len(lines) == 11
    assert all("control" in line for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('kind = "websq"', 'kind = "abacus"', "instrument nanowires: kind 'abacus' has no stub"),
        ("inputs = [3, 4]", "inputs = [1, 4]", "two fibres end at one input"),
        ("outputs = [17, 18]", "outputs = [1, 2]", "outputs must be above the 16 inputs"),
        ("velocity_deg_s = 2000.0", "colour = 3", "instrument alice-quarter"),
        ('scenario = "bench.toml"', 'scenario = "no.toml"', "cannot read scenario"),
        (
            'address = "stub"',
            'address = "tcp://127.0.0.1:9"',
            'no instrument whose address is "stub"',
        ),
    ],
)
def test_racks_that_have_no_bench(tmp_path: Path, old: str, new: str, match: str) -> None:
    path = straight_rack(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DeviceError, match=match) as caught:
        RackStubs(path)
    assert "\n" not in str(caught.value)


def test_messages_that_the_bench_refuses(tmp_path: Path) -> None:
    with RackStubs(straight_rack(tmp_path)) as stubs:
        for message, match in (
            (
                {"do": "jump", "link": "nowhere", "turn_deg": [0, 0, 9]},
                "known: hub-north, hub-east",
            ),
            ({"do": "latch", "detector": 4}, "detector"),
            ({"do": "drift", "step": 2.0}, "step"),
            ({"do": "explode"}, "explode"),
        ):
            with pytest.raises(AssertionError, match=match):
                control(stubs.bench, **message)

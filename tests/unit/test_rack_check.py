"""A rack that asks an instrument for what it cannot do is refused in one line, unopened."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from small_rack import write_small_rack

from backends.commands.lab import command
from backends.rack import FOUR_LINKS, SHIPPED_RACK
from backends.rack_check import usable_rack
from quantum.errors import InputError


def test_good_racks_pass(tmp_path: Path) -> None:
    for path in (FOUR_LINKS, SHIPPED_RACK, write_small_rack(tmp_path)):
        assert usable_rack(path).links


LIMITS = 'name = "{}"\nkind = "{}"\naddress = "stub"\n'


def limited(name: str, kind: str, limits: str) -> tuple[str, str]:
    """Replace an instrument's table by one with limits; sub-tables go last."""
    old = LIMITS.format(name, kind)
    return old, f"{old}limits = {{ {limits} }}\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"bob-half"]', '"epc-east"]', "link hub-north: optics.plates[3] names 'epc-east'"),
        ('switch = "switch"', 'switch = "shutter"', "is no OpticalSwitch"),
        ('instrument = "tagger"', 'instrument = "switch"', "is no CoincidenceCounter"),
        ('shutter = "shutter"', 'shutter = "switch"', "is no Shutter"),
        ('laser = "shutter"', 'laser = "tagger"', "is no Light"),
        ('bias = "nanowires"', 'bias = "switch"', "is no DetectorBias"),
        ('polarisation = "epc-east"', 'polarisation = "bob-half"', "is no PolarisationController"),
        ("inputs = [3, 4]", "inputs = [2, 4]", "links hub-north and hub-east: optics.inputs both"),
        (
            '"epc-east"\nshutter',
            '"epc-north"\nshutter',
            "both name epc-north, which sits in one fibre",
        ),
        ("outputs = [17, 18]", "outputs = [17, 3]", "port 3 of switch, which is an input of link"),
        ('laser = "shutter"\n', "", "optics.laser_dbm needs laser"),
        (
            'switch = "switch"\ninputs = [3, 4]\noutputs = [17, 18]\n',
            "",
            "optics.power_dbm needs switch",
        ),
        (
            'switch = "switch"\ninputs = [3, 4]\noutputs = [17, 18]\npower_dbm = -30.0\n',
            "",
            "optics.plates both name alice-half; links share an analyser through one optics.switch",
        ),
        ('kind = "polatis"', 'kind = "polaris"', "instrument switch: instrument kind 'polaris'"),
        ('"bench.toml"', '"nope.toml"', "stubs.scenario names 'nope.toml', which is no file"),
        (*limited("switch", "polatis", "bias_ua = [0.0, 1.0]"), "limits.bias_ua limits nothing"),
        (*limited("switch", "polatis", "ports = [1, 2, 17]"), "optics.outputs = 18 is outside"),
        (*limited("nanowires", "websq", "bias_ua = [0.0, 2e-5]"), "optics.bias_ua = 20 is out"),
        (*limited("shutter", "pc_rpc", "power_dbm = [-9.0, 3.0]"), "optics.laser_dbm = 10 is out"),
        (
            *limited("tagger", "id900", "integration_s = [1.0, 2.0]"),
            "integration_s of tagger = 0.01 is outside limits.integration_s = [1.0, 2.0]",
        ),
        (
            LIMITS.format("switch", "polatis"),
            LIMITS.format("switch", "polatis") + "settings = { colour = 3 }\n",
            "instrument switch: settings.colour is no setting of kind polatis",
        ),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write_small_rack(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        usable_rack(path)
    assert str(caught.value).startswith(f"rack {path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shipped_rack_is_checked_by_its_name() -> None:
    by_name, by_path = (
        CliRunner().invoke(command, ["check", rack, "--json", "-"])
        for rack in ("four-links", str(FOUR_LINKS))
    )
    assert by_name.exit_code == 0, by_name.output
    assert by_name.output == by_path.output

"""The SCPI grammar: spellings that mean the same, chains, units, and garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_stubs.bench import Bench, Optics
from firmware_stubs.id900 import ID900, Switches
from firmware_stubs.id900_tree import command_tree
from firmware_stubs.scpi import Command, ScpiError, quantity, short_form, split

TREE = command_tree("ms")

HEADERS = [
    "INPUt#4:ENABle",
    "INPUt#4:COUNter:INTEgration",
    "TSCOmbiner#8:WINDow:BEGIn:DELAy",
    "STARt:COUNter:MODE",
    "DEVIce:RESolution:BWIDth",
    "HISTogram#4:REF:LINK",
    "DELAy#8:VALUe",
]


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a header in a random spelling, beside its canonical key."""
    written, canonical = [], []
    for word in draw(st.sampled_from(HEADERS)).split(":"):
        name, _, count = word.partition("#")
        number = str(draw(st.integers(1, int(count)))) if count else ""
        text = draw(st.sampled_from([short_form(name), name]))
        cased = "".join(
            c.upper() if up else c.lower()
            for c, up in zip(text, draw(st.lists(st.booleans(), min_size=12)), strict=False)
        )
        written.append((cased if len(cased) == len(text) else text) + number)
        canonical.append(short_form(name) + number)
    return ":".join(written), ":".join(canonical)


@given(spellings())
def test_spellings_of_a_header_are_one_key(pair: tuple[str, str]) -> None:
    written, canonical = pair
    (command,) = split(written + "?")
    assert isinstance(command, Command)
    assert command.query
    assert TREE.find(command.path).key == canonical


@given(st.lists(spellings(), min_size=1, max_size=5), st.booleans())
def test_rooted_chain_is_its_parts(pairs: list[tuple[str, str]], colon_first: bool) -> None:
    chain = ";:".join(written for written, _ in pairs)
    commands = split(":" + chain if colon_first else chain)
    assert [TREE.find(c.path).key for c in commands if isinstance(c, Command)] == [
        canonical for _, canonical in pairs
    ]


@given(
    st.sampled_from(["LINK", "DELA", "EDGE"]),
    st.sampled_from(["LINK", "DELA", "EDGE"]),
    st.integers(1, 8),
)
def test_subtree_continues(first: str, second: str, number: int) -> None:
    short = split(f"TSCO{number}:WIND:BEGI:{first}?;{second}?;*IDN?;{first}?")
    full = split(
        f"TSCO{number}:WIND:BEGI:{first}?;:TSCO{number}:WIND:BEGI:{second}?;*IDN?"
        f";:TSCO{number}:WIND:BEGI:{first}?"
    )
    assert short == full


@given(st.text(max_size=200))
def test_garbage_never_crashes_the_stub(text: str) -> None:
    stub = ID900(Bench(Optics(), seed=1))
    assert isinstance(stub.answer(text, 1.0), str)


FRAGMENTS = st.sampled_from(
    ["INPU1", "TSCO", "COUN", ":", ";", "?", " ", "ON", "MODE", "9", "-1e400", "GTB", "HIST1:DATA?",
     "HIST1:BCOU 3", "GENE3:PPER", "LINK", "DELA1", "*IDN?", "NaN", "INF", "99999999999", "é"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=12))
def test_near_commands_never_crash_the_stub(parts: list[str]) -> None:
    stub = ID900(Bench(Optics(), seed=1))
    stub.answer("".join(parts), 0.5)
    # Whatever was said before, the instrument still answers.
    assert stub.answer("*IDN?", 1.0).startswith("IDQ,ID900,STUB-1")


@given(st.floats(-1e6, 1e6), st.sampled_from([("", 1.0), ("m", 1e-3), ("k", 1e3), ("M", 1e6)]))
def test_units_scale(value: float, prefix: tuple[str, float]) -> None:
    word, scale = prefix
    assert quantity(f"{value!r} {word}V", "V") == pytest.approx(value * scale, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "x", "1..2", "nan", "inf", "1 W", "1 qV", "1e999", "--1", "0x10"]
)
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(ScpiError):
        quantity(text, "V")


def test_switches_change_what_is_unknown() -> None:
    switches = Switches(
        set_reply="OK", error_text="ERR:{number}", tb_suffix=False, integration_unit="ns"
    )
    stub = ID900(Bench(Optics(), seed=1), switches=switches)
    assert stub.answer("INPU1:ENAB ON", 0.0) == "OK"
    assert stub.answer("BAD?", 0.0) == "ERR:-113"
    assert stub.answer("DELA1:VALU 5 TB;VALU?", 0.0) == "5"
    # One second is the power-on integration: 1e9 ns.
    assert stub.answer("INPU1:COUN:INTE?", 0.0) == "1000000000"


def test_links_that_loop_end_nowhere() -> None:
    stub = ID900(Bench(Optics(), seed=1))
    stub.answer("DELA1:LINK DELA2;:DELA2:LINK DELA1;:TSCO1:FIR:LINK DELA1", 0.0)
    assert stub.answer("TSCO1:COUN?", 5.0) == "0"

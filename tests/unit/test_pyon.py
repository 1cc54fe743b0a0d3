"""PYON in both versions: what was written is read, and nothing that is read is run."""

import base64
import contextlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.drivers.pyon import PyonError, decode, encode
from firmware_stubs import pyon_plain
from quantum.errors import InputError

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.complex_numbers(allow_nan=False),
    st.fractions(),
)
KEYS = st.one_of(st.text(max_size=6), st.integers(), st.tuples(st.integers(), st.booleans()))
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(st.integers(), min_size=1, max_size=4),
    ),
    max_leaves=12,
)
VERSIONS = st.sampled_from([1, 2])


def same(a: Any, b: Any) -> bool:
    """Compare values and types: 1, True and 1.0 differ."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


@given(VALUES, VERSIONS)
@settings(max_examples=50)
def test_what_is_written_is_read(value: Any, version: int) -> None:
    text = encode(value, version)
    assert "\n" not in text
    assert text.isascii()
    assert same(decode(text, version), value)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["<f8", "<i4", "|b1", "<c16", ">u2", "<f2"])
def test_arrays_and_scalars(kind: str, version: int) -> None:
    array = np.arange(6).astype(kind).reshape(2, 3)
    read = decode(encode({"x": array, "y": array[1, 2]}, version), version)
    assert read["x"].dtype == array.dtype
    assert np.array_equal(read["x"], array)
    assert read["y"] == array[1, 2]
    assert read["y"].dtype == array[1, 2].dtype
    read["x"][0, 0] = 1


@pytest.mark.parametrize(
    ("text", "version", "value"),
    [
        ('{"__jsonclass__": ["set", [["ping", "is_open"]]]}', 2, {"ping", "is_open"}),
        ('{"__jsonclass__": ["dict", [[[1, "a"]]]]}', 2, {1: "a"}),
        ('{"__jsonclass__": ["bytes", ["AAE="]]}', 2, b"\x00\x01"),
        ('{"__jsonclass__": ["Fraction", [1, 3]]}', 2, Fraction(1, 3)),
        ('{"__jsonclass__": ["npscalar", ["<f8", "AAAAAAAA+D8="]]}', 2, np.float64(1.5)),
        ('{"ping", "is_open"}', 1, {"ping", "is_open"}),
        ('{"status": "ok", "ret": (1, )}', 1, {"status": "ok", "ret": (1,)}),
        ("[null, true, -1.5e-3, inf, -2j, (1-2j)]", 1, [None, True, -1.5e-3, np.inf, -2j, 1 - 2j]),
        ("b'\\x00a\\''", 1, b"\x00a'"),
        ('npscalar("<f8", b"AAAAAAAA+D8=")', 1, np.float64(1.5)),
        ("OrderedDict([(1, 2)])", 1, {1: 2}),
        ("()", 1, ()),
        ("{}", 1, {}),
    ],
)
def test_texts_of_the_documentation(text: str, version: int, value: Any) -> None:
    assert decode(text, version) == value


LONG = base64.b64encode(b"\0" * 64).decode()


@pytest.mark.parametrize(
    "text",
    [
        '{"__jsonclass__": ["eval", ["1"]]}',
        '{"__jsonclass__": ["os.system", ["true"]]}',
        '{"__jsonclass__": ["tuple", [1]]}',
        '{"__jsonclass__": ["tuple"]}',
        '{"__jsonclass__": "tuple"}',
        '{"__jsonclass__": ["tuple", [[1]]], "more": 1}',
        '{"__jsonclass__": ["set", [[[1]]]]}',
        '{"__jsonclass__": ["complex", ["1", "2"]]}',
        '{"__jsonclass__": ["bytes", ["!"]]}',
        '{"__jsonclass__": ["Fraction", [1, 0]]}',
        '{"__jsonclass__": ["Fraction", ["1", 2]]}',
        '{"__jsonclass__": ["nparray", [[1000000000, 1000000000], "<f8", ""]]}',
        '{"__jsonclass__": ["nparray", [[-1], "<f8", ""]]}',
        '{"__jsonclass__": ["nparray", [[true], "|b1", "AA=="]]}',
        f'{{"__jsonclass__": ["nparray", [[8], "|O8", "{LONG}"]]}}',
        f'{{"__jsonclass__": ["nparray", [[1], "<f8,<i4", "{LONG}"]]}}',
        f'{{"__jsonclass__": ["nparray", [{[1] * 9}, "|b1", "AA=="]]}}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 10_000,
        "",
        "{",
        '{"a": 1} 2',
    ],
    ids=lambda text: text[:40],
)
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(PyonError):
        decode(text, 2)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "Fraction.__class__",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "1 if 1 else 2",
        "2 ** 99999999",
        "'a' * 99999999",
        "-" * 100_000 + "1",
        "(" * 100_000,
        "[" * 1000 + "]" * 1000,
        "1" * 10_000,
        "slice",
        "nparray((99999999999,), '<f8', b'')",
        "nparray(shape=(1,), dtype='<f8', data=b'')",
        "'a' 'b'",
        "f'{1}'",
        "{1: 2, 3}",
        "{1, 2: 3}",
        "(1 + 2j)",
        "(1j-2j)",
        "1, 2",
        "",
        "'\\",
        "\x00",
    ],
    ids=lambda text: text[:40],
)
def test_hostile_python_is_refused(text: str) -> None:
    with pytest.raises(PyonError):
        decode(text, 1)


@given(st.text(max_size=80), VERSIONS)
def test_any_text_is_read_or_refused(text: str, version: int) -> None:
    with contextlib.suppress(PyonError):
        decode(text, version)


@given(st.lists(st.sampled_from(["(", ")", "[", "{", "}", ":", ",", "1", "-2j", '"a"', "null"])))
def test_any_tokens_are_read_or_refused(tokens: list[str]) -> None:
    with contextlib.suppress(PyonError):
        decode(" ".join(tokens), 1)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["a"]), type])
def test_what_cannot_be_sent_is_said(value: Any, version: int) -> None:
    with pytest.raises(InputError, match="cannot be sent"):
        encode([value], version)


def test_endless_nesting_is_not_sent() -> None:
    nested: list[Any] = []
    nested.append(nested)
    for version in (1, 2):
        with pytest.raises(InputError, match="nested"):
            encode(nested, version)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.text(max_size=3).filter(lambda t: t != "__jsonclass__"), inner),
            st.sets(st.text(max_size=4), min_size=1, max_size=3),
        ),
        max_leaves=8,
    ),
    VERSIONS,
)
def test_the_driver_reads_what_the_stub_writes(value: Any, version: int) -> None:
    assert same(decode(pyon_plain.write(value, version), version), value)

"""The configuration file of a run: reading it, and writing one that explains itself.

What a key means is said once: by the option of ``dpem run`` that sets it, or, for keys without an
option, by the description that :class:`controller.setting.Setting` gives it.
"""

import json
import textwrap
import tomllib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec

from controller.setting import RANGES, Setting
from quantum.errors import InputError
from quantum.reading import told

__all__ = [
    "Key",
    "configuration_text",
    "keys",
    "read_configuration",
    "setting_of_values",
    "toml_of",
]

#: More than this is no configuration.
_MOST_BYTES = 1024 * 1024
_WIDTH = 98


@dataclass(frozen=True)
class Key:
    """One key of the file: its type in words, its default, what it means, the option like it."""

    name: str
    kind: str
    default: Any
    meaning: str
    option: str | None
    example: Any


def read_configuration(path: str) -> dict[str, Any]:
    """Return the values of a TOML file; :class:`InputError` with its name where it is none."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    if len(data) > _MOST_BYTES:
        raise InputError(f"{path}: a configuration must be at most {_MOST_BYTES} bytes")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as wrong:
        said = " ".join(str(wrong).split())
        raise InputError(f"{path} is not valid TOML: {said}") from wrong


def setting_of_values(values: dict[str, Any], path: str | None = None) -> Setting:
    """Turn values of a file and of the command line into a setting.

    An unknown key is answered with the known ones that are close to it.
    """
    where = f"{path}: " if path else ""
    try:
        return msgspec.convert(values, type=Setting).check()
    except msgspec.ValidationError as wrong:
        said = told(wrong, Setting).replace("Object", "configuration")
        raise InputError(f"{where}{said}") from wrong


def keys() -> Iterator[Key]:
    """Go through the keys of the file, in the order of :class:`Setting`."""
    from controller.commands.run import command

    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    hints = typing.get_type_hints(Setting, include_extras=True)
    for field in msgspec.structs.fields(Setting):
        meta = _meta(hints[field.name])
        option, off = options.get(field.name), options.get(f"no_{field.name}")
        if option is not None:
            meaning, name = option.help or "", option.opts[0]
        elif off is not None:
            meaning, name = f"false: {off.help}", off.opts[0]
        else:
            meaning, name = (meta.description if meta else "") or "", None
        kind, example = _in_words(hints[field.name])
        if field.name in RANGES:
            low, high = RANGES[field.name]
            kind = f"{kind} from {low:g} to {high:g}"
        if meta is not None and meta.examples:
            example = meta.examples[0]
        yield Key(field.name, kind, field.default, meaning, name, example)


def configuration_text() -> str:
    """Return a file with every key: what it means, and its default, commented out."""
    parts = [
        "# Configuration of a run: dpem run --config FILE. Lines that begin with '# KEY =' show\n"
        "# the defaults; take the mark away and change what you need. What the command line says\n"
        "# wins over this file.\n"
    ]
    for key in keys():
        said = f"{key.meaning} ({key.kind}{_like(key)})"
        lines = textwrap.wrap(said, _WIDTH - 2)
        if key.default is None:
            lines.append("Not set unless you do, for example:")
        value = key.example if key.default is None else key.default
        parts.append(
            "".join(f"# {line}\n" for line in lines) + f"# {key.name} = {toml_of(value)}\n"
        )
    return "\n".join(parts)


def _like(key: Key) -> str:
    return f"; option {key.option}" if key.option else ""


def toml_of(value: Any) -> str:
    """Write a plain value as TOML, whose texts, numbers, truths and lists are those of JSON.

    >>> toml_of(("a", "b")), toml_of(60.0), toml_of(True)
    ('["a", "b"]', '60.0', 'true')
    """
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _meta(kind: Any) -> msgspec.Meta | None:
    """Return what Setting says of a type, also inside of a union with None."""
    for one in (kind, *typing.get_args(kind)):
        if typing.get_origin(one) is Annotated:
            return next((m for m in one.__metadata__ if isinstance(m, msgspec.Meta)), None)
    return None


def _in_words(kind: Any) -> tuple[str, Any]:
    """Return a type in words, and a value of it."""
    names: dict[Any, tuple[str, Any]] = {
        bool: ("true or false", True),
        int: ("whole number", 1),
        float: ("number", 1.0),
        str: ("text", "NAME"),
    }
    for one in (kind, *typing.get_args(kind)):
        inner = typing.get_args(one)[0] if typing.get_origin(one) is Annotated else one
        if inner in names:
            return names[inner]
        if typing.get_origin(inner) is tuple:
            return "list of texts", ()
    return "value", "NAME"

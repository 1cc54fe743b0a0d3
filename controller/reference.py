"""Writes the pages of reference from the code: ``python -m controller.reference docs``.

Commands are those that this distribution registers, messages those of :mod:`quantum.egp`, keys of
the configuration those of :mod:`controller.configuration`. A test compares the committed pages with
what is written here.
"""

import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import msgspec

from controller.configuration import configuration_text, keys, toml_of
from quantum import egp
from quantum.quiet import with_quiet

__all__ = ["PAGES", "write"]

_OURS = ("controller", "backends", "quantum", "firmware_stubs", "click")
_MADE = "Written by `python -m controller.reference docs`: change the code, not this page.\n"


def commands_page() -> str:
    """Return the page of all commands with their arguments and options."""
    parts = [
        "# Reference: commands\n",
        _MADE,
        "Every command also answers to `--help`. Wrong input is one line on standard error and\n"
        "exit code 2; an interrupt (Ctrl-C) is exit code 130.\n",
    ]
    for name, command in _commands():
        parts += _command(name, command)
    return "\n".join(parts)


def messages_page() -> str:
    """Return the page of all messages with their fields."""
    parts = [
        "# Reference: messages\n",
        _MADE,
        "[Messages](messages.md) says who sends what and when, with an example of each. A field\n"
        f"with a default may be left out. This is version {egp.VERSION}.\n",
    ]
    for kind in _message_kinds():
        tag = kind.__struct_config__.tag
        parts.append(f"## {kind.__name__}\n")
        parts.append(f"{_paragraphs(f'`type`: `{tag}`. {inspect.getdoc(kind)}')}\n")
        hints = typing.get_type_hints(kind, include_extras=True)
        rows = [
            (f"`{field.encode_name}`", _kind(hints[field.name]), _default(field))
            for field in msgspec.structs.fields(kind)
        ]
        parts.append(_table(("field", "type", "default"), rows) if rows else "It has no fields.\n")
    return "\n".join(parts)


def configuration_page() -> str:
    """Return the page of the configuration file."""
    rows = [
        (
            f"`{key.name}`",
            key.kind,
            "not set" if key.default is None else f"`{toml_of(key.default)}`",
            f"`{key.option}`" if key.option else "",
            key.meaning,
        )
        for key in keys()
    ]
    return "\n".join(
        [
            "# Reference: configuration of a run\n",
            _MADE,
            "`dpem init` writes the file at the end of this page, `dpem run --config FILE` reads\n"
            "it. An unknown key is refused, with the known ones that are close to it.\n",
            _table(("key", "type", "default", "option of `dpem run`", "meaning"), rows),
            f"```toml\n{configuration_text()}```\n",
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "reference-commands.md": commands_page,
    "reference-messages.md": messages_page,
    "reference-configuration.md": configuration_page,
}


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def _commands() -> Iterator[tuple[str, click.Command]]:
    """Go through our own commands, subcommands included, by name."""
    points = [
        point
        for point in entry_points(group="dpem.commands")
        if point.dist is not None and point.dist.name == "dpem"
    ]
    for point in sorted(points, key=lambda point: point.name):
        yield from _tree(point.name, with_quiet(point.load()))


def _tree(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            # Benchmarks and stubs of other distributions are not ours to document.
            if found is not None and _is_ours(found):
                yield from _tree(f"{name} {inner}", found)


def _is_ours(command: click.Command) -> bool:
    home = getattr(inspect.unwrap(command.callback), "__module__", "") if command.callback else ""
    return not home or home.partition(".")[0] in _OURS


def _command(name: str, command: click.Command) -> list[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [
        parameter.make_metavar(click.Context(command))
        for parameter in shown
        if isinstance(parameter, click.Argument)
    ]
    usage = " ".join(["dpem", name, *arguments])
    if isinstance(command, click.Group):
        usage += " COMMAND"
    parts = [f"## dpem {name}\n", f"`{usage}`\n", f"{_paragraphs(command.help or '')}\n"]
    rows = [
        (
            ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
            + (f" {_metavar(option)}" if not option.is_flag else ""),
            _option_default(option),
            _words(option.help or ""),
        )
        for option in shown
        if isinstance(option, click.Option)
    ]
    if rows:
        parts.append(_table(("option", "default", "meaning"), rows))
    return parts


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return f"`{option.metavar}`"
    if isinstance(option.type, click.Choice):
        return f"`{'|'.join(str(choice) for choice in option.type.choices)}`"
    names = {"integer": "whole number", "float": "number", "text": "text"}
    return next((words for part, words in names.items() if part in option.type.name), "value")


def _option_default(option: click.Option) -> str:
    value = option.default
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return f"`{value}`" if plain and value != "" else ""


def _message_kinds() -> list[type[msgspec.Struct]]:
    """Return the messages and what they hold that is a message type too, in the code's order."""
    found = [one for one in vars(egp).values() if isinstance(one, type)]
    return [
        one
        for one in found
        if issubclass(one, egp.Frame) and one is not egp.Frame and one.__module__ == egp.__name__
    ]


def _default(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        value = field.default
        return f"`{list(value) if isinstance(value, tuple) else value!r}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{field.default_factory()!r}`"
    return ""


def _kind(kind: Any) -> str:
    """Write a type in words that no language owns."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    plain = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if kind in plain:
        return plain[kind]
    if kind is bytes:
        return "bytes"
    if kind is type(None):
        return "null"
    if origin is typing.Annotated:
        return _kind(inside[0])
    if origin is typing.Literal:
        return " or ".join(f"`{word}`" for word in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in inside)
    if origin in (tuple, list):
        own = [one for one in inside if one is not Ellipsis]
        return "list of " + ", ".join(dict.fromkeys(_kind(one) for one in own))
    if origin is dict:
        return f"mapping of {_kind(inside[1])}"
    return str(getattr(kind, "__name__", kind))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in lines
    )


def _words(text: str) -> str:
    """Join lines; references of docstrings become plain names."""
    said = " ".join(text.replace("``", "`").split())
    return said.replace(":class:", "").replace(":func:", "").replace(":mod:", "")


def _paragraphs(text: str) -> str:
    parts = inspect.cleandoc(text).replace("\b", "").split("\n\n")
    return "\n\n".join(textwrap.fill(_words(part), 105) for part in parts if part.strip())


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))

"""Where results go: ``--json FILE`` or ``-``, always complete or not at all."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from quantum.errors import InputError

__all__ = ["figure_kind", "json_option", "write_json", "write_whole"]


def _writable(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Refuse a target that cannot be written before the work, not after it."""
    if path in (None, "-"):
        return path
    target = Path(str(path))
    if target.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"cannot write {path}: its folder is not writable")
    return path


json_option = click.option(
    "--json",
    "json_path",
    metavar="FILE|-",
    callback=_writable,
    help="Write the result as JSON to FILE, or to standard output with '-'.",
)


def figure_kind(path: str | None) -> str:
    """Return ``png`` or ``svg`` by a figure's name, before the work that is to be drawn.

    >>> figure_kind("a.svg"), figure_kind(None)
    ('svg', 'png')
    """
    if path is None:
        return "png"
    if Path(path).suffix not in (".png", ".svg"):
        raise InputError(f"--figure must end in .png or .svg, got {path}")
    if not Path(path).parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist")
    return Path(path).suffix[1:]


def write_json(value: Any, path: str | None, *, secret: bool = False) -> None:
    """Write a result as indented JSON; nothing where ``path`` is None.

    A file with a ``secret`` in it can be read by its owner only.
    """
    if path is None:
        return
    text = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"
    if path == "-":
        sys.stdout.write(text.decode())
        sys.stdout.flush()
    else:
        write_whole(Path(path), text, mode=0o600 if secret else 0o644)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException as wrong:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        if isinstance(wrong, OSError):
            raise InputError(f"cannot write {path}: {wrong.strerror}") from wrong
        raise

"""Every model of a link, and the reader of one from a file."""

from typing import Any

import msgspec

from quantum.errors import InputError
from quantum.links.double_click import DoubleClick
from quantum.links.plain import Plain
from quantum.links.single_click import SingleClick
from quantum.links.spdc import Spdc, SpdcContinuous

__all__ = ["MODELS", "LinkModel", "read_model"]

#: Each has ``heralded()``, which says how often attempts succeed and with which state.
LinkModel = Plain | SingleClick | DoubleClick | Spdc | SpdcContinuous

#: Names in the field ``model`` of a file.
MODELS = ("plain", "single_click", "double_click", "spdc", "spdc_continuous")


def read_model(data: dict[str, Any] | bytes) -> LinkModel:
    """Return the model that a mapping, or JSON, describes; errors name the field.

    >>> link = read_model({"model": "single_click", "bright_state": 0.1, "length_km": 20})
    >>> round(link.heralded().success_probability, 4)
    0.1222
    """
    try:
        link: LinkModel = (
            msgspec.json.decode(data, type=LinkModel)
            if isinstance(data, bytes)
            else msgspec.convert(data, LinkModel)
        )
    except msgspec.ValidationError as error:
        raise InputError(_in_words(str(error))) from None
    except msgspec.DecodeError as error:
        raise InputError(f"link: not JSON: {error}") from None
    return link


def _in_words(message: str) -> str:
    """Turn msgspec's message into ours: ``link.field: what is wrong``."""
    what, _, where = message.replace("`", "").partition(" - at $")
    if where == ".model" or what.endswith("field model"):
        return f"link.model must be one of {', '.join(MODELS)}"
    for start in ("Object missing required field ", "Object contains unknown field "):
        if what.startswith(start):
            kind = "is required" if "missing" in start else "is not a field of this model"
            return f"link{where}.{what.removeprefix(start)} {kind}"
    return f"link{where}: {what[:1].lower()}{what[1:]}"

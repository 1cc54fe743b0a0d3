"""The committed pages of reference are what the code says today."""

from pathlib import Path

import pytest

from controller.reference import PAGES
from quantum.cli import found

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")
    assert committed == PAGES[name](), "run: python -m controller.reference docs"


def test_every_command_and_every_message_is_there() -> None:
    pages = {name: page() for name, page in PAGES.items()}
    for name, point in found().items():
        if point.dist is not None and point.dist.name == "dpem":
            assert f"## dpem {name}\n" in pages["reference-commands.md"]
    for name in ("Look", "Speak", "Job", "Done", "Telemetry", "Task"):
        assert f"## {name}\n" in pages["reference-messages.md"]
    assert "| `--seconds` number |" in pages["reference-commands.md"]
    assert "| `minimum_fidelity` | number | `0.0` |" in pages["reference-messages.md"]
    assert "| `load_hz` | number | not set | `--load` |" in pages["reference-configuration.md"]

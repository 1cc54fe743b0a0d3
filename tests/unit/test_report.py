"""The HTML report: self-contained, escaped, complete."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from controller.report import render
from quantum.record import RecordWriter, read

PNG = b"\x89PNG\r\n\x1a\nnot really"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
EVIL = "<script>alert('x')</script>&\"</style>"
SUMMARY: dict[str, Any] = {
    "allocator": "dpem",
    "pairs_requested": 3612,
    "pairs_delivered": 2931,
    "delivery_rate": 0.811,
    "fraction_of_bound": 0.902,
    "fidelity": {"low": 0.893, "best": 0.902, "high": 0.911, "confidence": 0.95, "shots": 3000},
    "latency_ms": {"p50": 61.2, "p99": 440.0},
    "decision_digest": "ab" * 32,
    "note": EVIL,
    "rivals": {"mean-rate": {"delivery_rate": 0.9}, EVIL: {"delivery_rate": 0.1}},
}


class Page(HTMLParser):
    """Collect tags, what they point to and the text, and check that tags are closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(folder: Path, summary: dict[str, Any] | None, **files: bytes) -> str:
    with RecordWriter(folder, {"seed": 7, "argv": ["dpem", "run", EVIL]}) as writer:
        for name, data in files.items():
            writer.write_file(name.replace("_", "."), data)
        if summary is not None:
            writer.close(summary)
    return render(read(folder))


def test_the_page_shows_result_rivals_pictures_and_provenance(tmp_path: Path) -> None:
    text = report(tmp_path / "run", SUMMARY, run_png=PNG, network_svg=SVG, data_csv=b"1,2")
    page = Page(text)
    assert "dpem delivered 2,931 of 3,612 requested pairs" in page.text
    assert "81.1%" in page.text
    assert "0.893, 0.902, 0.911 (confidence 0.95, 3,000 shots)" in page.text
    assert page.text.index("mean-rate") < page.text.index("0.8110"), "best delivery first"
    record = read(tmp_path / "run")
    for digest in (record.seal.digest, record.seal.last_hash, *record.seal.files.values()):
        assert digest in page.text
    assert '"seed": 7' in page.text
    assert page.tags.count("img") == 2


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    text = report(tmp_path / "run", SUMMARY, run_png=PNG, run_svg=SVG)
    page = Page(text)
    assert len(page.targets) == 1, "of two files of one name the drawing is shown"
    assert page.targets[0].startswith("data:image/svg+xml;base64,")
    assert not set(page.tags) & {"script", "link", "iframe", "object", "a"}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_text_of_others_is_escaped(tmp_path: Path) -> None:
    page = Page(report(tmp_path / "run", SUMMARY))
    assert page.text.count("alert('x')") == 3, "in the rivals, the facts and the header"
    assert "script" not in page.tags


@pytest.mark.parametrize("summary", [None, {}])
def test_a_run_without_result_still_has_a_report(
    tmp_path: Path, summary: dict[str, Any] | None
) -> None:
    page = Page(report(tmp_path / "run", summary))
    assert "A run of dpem without a result" in page.text
    assert ("The run was interrupted" in page.text) == (summary is None)


def test_same_record_gives_same_page(tmp_path: Path) -> None:
    report(tmp_path / "run", SUMMARY, run_png=PNG)
    assert render(read(tmp_path / "run")) == render(read(tmp_path / "run"))


def test_dark_and_light_have_their_colours(tmp_path: Path) -> None:
    text = report(tmp_path / "run", SUMMARY)
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text

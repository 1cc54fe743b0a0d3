"""The page of a comparison: whole, escaped, and nothing loaded from elsewhere."""

import hashlib
import html.parser
import json
import re

import pytest
from onlooker import write

from controller.arena.page import report_page
from controller.report import render
from controller.setting import Setting
from controller.sheet import sheet
from quantum.record import read

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Structure(html.parser.HTMLParser):
    """Checks that tags close in order, and keeps what they hold."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.words = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


TEXT = """# <b>net</b> & co: 2 cells

Every allocator played the *same* draws; `a < b`.

## Who reached what

| allocator | of bound |
|---|---:|
| **dpem** | 0.9 |
| <script>alert(1)</script> | 0.8 |

- one * two * three
- p < 0.01

## Figures

![delivery](figures/delivery.png)

Delivered "pairs" over load.
"""


@pytest.fixture(scope="module")
def page():
    return report_page(TEXT, {"delivery": PNG}, {"units.csv": "ab" * 32}, {"demand": "</pre><i>"})


def test_it_is_well_formed_and_says_all_of_it(page):
    found = Structure(page)
    words = " ".join(found.words)
    for said in ("<b>net</b> & co: 2 cells", "<script>alert(1)</script>", "p < 0.01", "a < b"):
        assert said in words
    tags = [tag for tag, _ in found.seen]
    assert (tags.count("table"), tags.count("li"), tags.count("figure")) == (2, 2, 1)
    assert "script" not in tags
    assert "one * two * three" in words
    assert ("tr", {"class": "own"}) in found.seen
    assert "ab" * 32 in words
    assert "</pre><i>" in words


def test_it_needs_nothing_else(page):
    found = Structure(page)
    for tag, attributes in found.seen:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "data:").startswith("data:"), tag
    assert not re.search(r"url\(|@import|https?:", page)
    (policy,) = [a["content"] for t, a in found.seen if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_a_comparison_leaves_it_with_digests_that_hold(tmp_path):
    from click.testing import CliRunner

    from controller.commands.compare import command

    words = ["--topology", "geometric-10", "--demand", "poisson", "--seconds", "3", "--warmup", "1"]
    words += ["--sample", "1", "--seeds", "2", "--allocators", "mean-rate,uniform"]
    words += ["--processes", "1", "--out", str(tmp_path / "x"), "--quiet"]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0
    found = Structure((tmp_path / "x" / "report.html").read_text())
    words = " ".join(found.words)
    for name in ("units.csv", "units.jsonl", "result.json", "comparison.json"):
        digest = hashlib.sha256((tmp_path / "x" / name).read_bytes()).hexdigest()
        assert digest in words, name
    pictures = [a for t, a in found.seen if t == "img"]
    assert len(pictures) == len(list((tmp_path / "x" / "figures").iterdir())) >= 2
    asked = json.loads(words[words.index("{", words.index("What was asked")) :].strip())
    assert asked["allocators"] == ["mean-rate", "uniform"]
    assert asked["demand"] == "poisson"


def test_a_run_tells_who_asked_for_what_and_how_good_links_are(tmp_path):
    setting = Setting(
        topology="line-4", demand="poisson", load_hz=40.0, seconds=2.0, warmup_s=0.5, rivals=()
    )
    last = write(tmp_path / "run", setting)
    found = Structure(render(read(tmp_path / "run")))
    words = [word.strip() for word in found.words if word.strip()]
    world = last.rules.world
    a, b = int(world.cls.a[0]), int(world.cls.b[0])
    of_both = (world.cls.a[world.request.cls] == a) & (world.cls.b[world.request.cls] == b)
    row = words.index(f"n{a} → n{b}")
    assert words[row + 1] == str(world.request.pairs[of_both].sum())
    assert words[row + 2] == str(last.ledger.request.good[of_both].sum())
    assert "Links" in words


def test_a_title_is_text():
    assert "<title>&lt;x&gt;</title>" in sheet("<x>", "")

"""The pages of a comparison that plays and of a service that runs, in a real browser."""

import json
import os
import urllib.error
import urllib.request

import msgspec
import pytest
from chromium import Chromium, find
from served import serving
from sheets import ServedSheet, facts, played, playing

from controller.dashboard.comparison_watch import ComparisonWatch
from controller.dashboard.service_watch import ServiceWatch
from controller.security.keys import new_key, revoke_key
from controller.service.config import load_config
from quantum.errors import RequestError

NOW = "dpem.page.sheet"


@pytest.fixture(scope="module")
def browser():
    program = find()
    if program is None:
        if os.environ.get("DPEM_BROWSER") == "required":
            pytest.fail("no Chromium: CI installs one, see .ci/run")
        pytest.skip("no Chromium; install it, or name it by DPEM_CHROMIUM")
    with Chromium(program) as running:
        yield running


@pytest.fixture
def tab(browser):
    opened = browser.tab()
    opened.screen(1280, 900)
    opened.prefer("light")
    yield opened
    opened.close()


def text(tab, selector):
    return tab.evaluate(f"document.querySelector({selector!r}).textContent")


def nothing_wrong(tab, served):
    assert tab.problems == []
    own = (f"http://127.0.0.1:{served.port}/", f"ws://127.0.0.1:{served.port}/")
    assert [url for url in tab.requests if not url.startswith(own)] == []
    assert tab.evaluate("location.search") == ""
    assert tab.evaluate("document.cookie") == ""


def fits(tab, width):
    tab.screen(width, 800, mobile=True)
    tab.wait(f"innerWidth === {width}")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_a_comparison_is_shown_while_units_come(tab, tmp_path):
    what = facts()
    with playing(tmp_path / "c", what) as folder:
        folder.add(played(what, 0))
        with ServedSheet(ComparisonWatch(tmp_path / "c")) as served:
            tab.go(served.address)
            tab.wait(f"{NOW} && {NOW}.state === 'running'")
            assert text(tab, "[data-tile=units] b") == "1 of 6"
            assert text(tab, "[data-tile=left] b") == "–"
            assert text(tab, "[data-tile=judged] b") == "80.0 %"
            assert text(tab, "[data-tile=rival] .label") == "best rival, mean-rate"
            # One network and seed: a difference, and no interval.
            assert "no interval before two" in text(tab, "[data-tile=difference] small")
            for number in (1, 2, 3):
                folder.add(played(what, number))
            folder.add(played(what, 4, note="no request can be served by anybody"))
            tab.wait("document.querySelector('[data-tile=units] b').textContent === '5 of 6'")
            # By the pace of four units since the page was opened.
            tab.wait("document.querySelector('[data-tile=left] b').textContent !== '–'")
            assert text(tab, "[data-tile=skipped] b") == "1"
            assert text(tab, "[data-tile=difference] b") == "+10.00"
            assert tab.evaluate("document.querySelectorAll('.intervals .whisker').length") == 2
            assert (
                tab.evaluate("document.querySelectorAll('[data-chart=fraction] .curve').length") > 1
            )
            rows = "[...document.querySelectorAll('#panel tbody tr')].map((r) => r.textContent)"
            assert [row.split("4")[0] for row in tab.evaluate(rows)] == list(what.allocators)
            # Tables by keyboard.
            tab.evaluate("document.querySelector('#tab-allocators').focus()")
            tab.press("ArrowRight")
            tab.press("ArrowRight")
            assert text(tab, "[role=tab][aria-selected=true]") == "Cells"
            assert tab.evaluate("document.activeElement.id") == "tab-cells"
            first = tab.evaluate(rows)[0]
            assert "mesh" in first
            assert "2 of 2" in first
            nothing_wrong(tab, served)
            fits(tab, 360)


def test_the_end_of_a_comparison_is_said(tab, tmp_path):
    what = facts(2, 1)
    with playing(tmp_path / "c", what) as folder:
        folder.add(played(what, 0))
    with ServedSheet(ComparisonWatch(tmp_path / "c")) as served:
        tab.go(served.address)
        tab.wait(f"{NOW} && {NOW}.state === 'broken off'")
        assert (
            text(tab, "#status") == "Stopped with 1 of 2 units; the same command goes on from there"
        )
        with playing(tmp_path / "c", what) as folder:
            tab.wait(f"{NOW}.state === 'running'")
            folder.add(played(what, 1))
            (tmp_path / "c" / "result.json").write_text("{}")
            tab.wait(f"{NOW}.word === 'Writing the result'")
        tab.wait(f"{NOW}.state === 'finished'")
        # A line that is none is said, and what came before it stays.
        with (tmp_path / "c" / "units.jsonl").open("a") as file:
            file.write("nonsense\n")
        tab.wait(f"{NOW}.state === 'damaged'")
        assert "unit 3 is damaged" in text(tab, "#notice")
        assert text(tab, "[data-tile=units] b") == "2 of 2"


def test_a_service_is_shown_while_it_answers(tab, tmp_path):
    """The real thing: a service, applications over CURVE, Prometheus' page, a browser."""
    with serving(tmp_path, level="info") as service:
        config = load_config(str(service.config))
        new_key(config.folder, "ada", "request")
        watch = ServiceWatch(
            config, service.metrics.removeprefix("http://").removesuffix("/metrics")
        )
        with ServedSheet(watch) as served, service.client() as client:
            tab.go(served.address)
            tab.wait(f"{NOW} && {NOW}.state === 'running'")
            assert text(tab, "[data-tile=granted] b") == "0"
            assert text(tab, "#title").startswith("service on ")
            got = client.request("a", "b", pairs=2, minimum_fidelity=0.7, deadline_s=20.0)
            assert len(got.pairs) == 2
            with pytest.raises(RequestError):
                client.request("a", "d", pairs=1, minimum_fidelity=0.999, deadline_s=5.0)
            tab.wait("document.querySelector('[data-tile=granted] b').textContent === '1'")
            assert text(tab, "[data-tile=pairs] b") == "2"
            tab.wait("document.querySelector('[data-tile=blocked] b').textContent === '1'")
            assert "NORES" in text(tab, "[data-tile=blocked] small")
            # What only metrics tell.
            tab.wait("/^[0-9]+$/.test(document.querySelector('[data-tile=stock] b').textContent)")
            tab.wait("document.querySelectorAll('[data-chart=stock] .curve').length > 0")
            cells = "[...document.querySelectorAll('#panel tbody td')].map((c) => c.textContent)"
            assert tab.evaluate(cells) == ["local", "request", "2", "1", "2", "1"]
            tab.click("#tab-pairs")
            assert "a → b" in tab.evaluate(cells)
            tab.click("#tab-keys")
            tab.wait(f"{cells}.includes('ada')")
            revoke_key(config.folder, "ada")
            tab.wait(f"{cells}.includes('revoked')")
            nothing_wrong(tab, served)
            fits(tab, 360)
            tab.screen(1280, 900)
            service.end()
            tab.wait(f"{NOW}.state === 'finished'")
            assert text(tab, "[data-tile=granted] b") == "1"
            assert text(tab, "[data-tile=stock] b") == "–"


def test_whoever_has_no_token_gets_nothing_of_a_sheet(tmp_path):
    what = facts(1, 1)
    with playing(tmp_path / "c", what), ServedSheet(ComparisonWatch(tmp_path / "c")) as served:
        base = f"http://127.0.0.1:{served.port}"
        for path in ("/", "/state", "/assets/sheet.js", "/stream"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(base + path)
            refused.value.close()
            assert refused.value.code == 401
        bearer = {"Authorization": f"Bearer {served.tokens.observe}"}
        with urllib.request.urlopen(urllib.request.Request(f"{base}/state", headers=bearer)) as got:
            assert json.load(got)["title"] == "dpem against 2 others"
        wish = msgspec.json.encode({"what": "run", "reason": "x"})
        stop = urllib.request.Request(f"{base}/stop", wish, bearer)
        with pytest.raises(urllib.error.HTTPError) as nothing:
            urllib.request.urlopen(stop)
        nothing.value.close()
        assert nothing.value.code == 404

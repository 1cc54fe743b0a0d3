"""The page of a run in a real browser: what it shows, how it is used, and what it never does."""

import itertools
import json
import os
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from chromium import Chromium, find
from one_link_rack import one_link
from onlooker import Served, play, write

from backends.supervisor.launching import Launched
from backends.supervisor.places import place_of, read_kept
from controller.attended import Attended
from controller.setting import Setting
from quantum.record import RecordWriter, verify

#: Small enough to be quick, large enough to be learning federated.
SETTING = Setting(
    topology="surfnet",
    demand="poisson",
    load_hz=40.0,
    seconds=3.0,
    warmup_s=1.0,
    seed=5,
    round_s=1.0,
    rivals=(),
)
NOW = "dpem.page.frame.now"


@pytest.fixture(scope="module")
def browser():
    program = find()
    if program is None:
        if os.environ.get("DPEM_BROWSER") == "required":
            pytest.fail("no Chromium: CI installs one, see .ci/run")
        pytest.skip("no Chromium; install it, or name it by DPEM_CHROMIUM")
    with Chromium(program) as running:
        yield running


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "run"
    last = write(folder, SETTING)
    with Served(folder) as served:
        served.last = last
        yield served


@pytest.fixture
def tab(browser):
    opened = browser.tab()
    opened.screen(1280, 900)
    opened.prefer("light")
    yield opened
    opened.close()


@pytest.fixture
def page(tab, finished):
    tab.go(finished.address(finished.tokens.operate))
    tab.wait(f"{NOW}.slot > 0 && dpem.map.drawn > 0 && dpem.page.frame.status.state === 'finished'")
    return tab


def state_at(served, slot):
    request = urllib.request.Request(
        f"http://127.0.0.1:{served.port}/state?slot={slot}",
        headers={"Authorization": f"Bearer {served.tokens.observe}"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def text(tab, selector):
    return tab.evaluate(f"document.querySelector({selector!r}).textContent")


def test_a_finished_run_is_shown_with_its_numbers(page, finished):
    summary = json.loads((finished.watch.folder / "summary.json").read_text())
    asked, given = summary["pairs_requested"], summary["pairs_delivered"]
    assert text(page, "[data-tile=delivered] b") == f"{100 * given / asked:.1f} %"
    assert text(page, "[data-tile=delivered] small") == f"{given} of {asked} pairs"
    assert text(page, "[data-tile=bound] b") == f"{100 * summary['fraction_of_bound']:.1f} %"
    assert text(page, "[data-tile=contention] b") == f"{summary['contention']:.4f}"
    assert text(page, "[data-tile=epsilon] b") == f"{summary['epsilon']:.2f}"
    assert text(page, "#status").startswith("Finished")
    for chart in ("delivery", "demand", "served", "fidelity", "reward", "privacy"):
        assert page.evaluate(f"document.querySelectorAll('[data-chart={chart}] .curve').length") > 0
    assert page.evaluate("document.querySelectorAll('#panel tbody tr').length") > 10
    # No button that does nothing: a run that is over cannot be stopped.
    assert page.evaluate("document.querySelector('#stop-run').hidden")
    assert page.evaluate("document.querySelector('#estop').hidden")


def test_nothing_is_loaded_from_elsewhere_and_nothing_goes_wrong(page, finished):
    assert page.problems == []
    own = (f"http://127.0.0.1:{finished.port}/", f"ws://127.0.0.1:{finished.port}/")
    assert page.requests
    assert [url for url in page.requests if not url.startswith(own)] == []
    # The address holds no token once the page is there, and scripts cannot read the cookie.
    assert page.evaluate("location.search") == ""
    assert page.evaluate("document.cookie") == ""


def test_the_browser_itself_refuses_inline_scripts_and_other_hosts(page):
    page.evaluate(
        "{ const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
        " document.body.append(s); }"
    )
    assert page.evaluate("window.bad === undefined")
    refused = "fetch('http://127.0.0.1:9/').then(() => 'sent', (e) => 'refused')"
    assert page.evaluate(refused) == "refused"
    assert any("Content Security Policy" in each for each in page.problems)


def test_the_slider_shows_an_earlier_moment_and_the_newest_again(page, finished):
    newest = page.evaluate(f"{NOW}.slot")
    page.evaluate("document.querySelector('#time').focus()")
    page.press("ArrowLeft")
    page.wait(f"{NOW}.slot === {newest} - 5")
    assert page.evaluate("dpem.page.live") is False
    page.evaluate(
        "{ const t = document.querySelector('#time'); t.value = 103;"
        " t.dispatchEvent(new Event('input')); }"
    )
    page.wait(f"{NOW}.slot === 103")
    shown, told = page.evaluate("dpem.page.frame"), state_at(finished, 103)
    assert shown == told
    assert shown["series"]["good"][-1] < finished.last.ledger.request.good.sum()
    assert text(page, "#clock").startswith("2.1 s of")
    page.press("l")
    page.wait(f"{NOW}.slot === {newest} && dpem.page.live")


def test_it_plays_from_the_beginning_and_pauses(page):
    page.evaluate("document.activeElement.blur()")
    # The page notes by itself what it shows, and pauses once, so that nobody has to be quick.
    page.evaluate(
        "window.seen = []; new MutationObserver(() => {"
        " const at = dpem.page.frame.now.slot, button = document.querySelector('#play');"
        " seen.push([at, button.textContent]);"
        " if (at > 20 && at < 150 && dpem.page.playing) button.click();"
        " }).observe(document.querySelector('#clock'), { childList: true });"
    )
    page.press(" ")
    page.wait("seen.some(([at, word]) => at > 20 && word === 'Pause') && !dpem.page.playing")
    assert text(page, "#play") == "Play"
    shown = [at for at, _ in page.evaluate("seen")]
    assert shown == sorted(shown)
    assert shown[0] < 150


def test_everything_can_be_done_by_keyboard(page):
    page.press("m")
    page.press("ArrowRight")
    assert text(page, "#picked").startswith("Link ")
    assert "95 %" in text(page, "#picked") or "no tests yet" in text(page, "#picked")
    page.press("ArrowDown")
    assert text(page, "#picked").startswith("Node ")
    page.press("+")
    page.wait("dpem.map.view.zoom > 1")
    page.press("0")
    page.wait("dpem.map.view.zoom === 1")
    page.press("?")
    page.wait("document.querySelector('#help').open")
    page.press("Escape")
    page.wait("!document.querySelector('#help').open")
    # By Tab alone one comes to the map, the tabs, the table, the slider and its buttons.
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    wanted = ["help-open", "zoom-in", "map", "tab-pairs", "panel", "play", "time", "live"]
    # Tab goes round, and starts where the focus was last.
    places = [reached.index(each, reached.index(wanted[0])) for each in wanted]
    assert places == sorted(places), reached
    page.evaluate("document.querySelector('#tab-pairs').focus()")
    for name in ("requests", "links", "instruments", "facts"):
        page.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == f"tab-{name}"
        assert page.evaluate("document.querySelector('#panel').children.length") > 0
    assert page.problems == []


def test_a_pointer_picks_a_node(page):
    x, y = page.evaluate(
        "(() => { const b = document.querySelector('#map').getBoundingClientRect();"
        " const p = dpem.map.points[3]; return [b.x + p[0], b.y + p[1]]; })()"
    )
    page.click_at(x, y)
    page.wait("dpem.map.picked?.kind === 'node'")
    name = page.evaluate("dpem.page.greeting.network.nodes[dpem.map.picked.index][0]")
    assert text(page, "#picked").startswith(f"Node {name}: asked for")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_scrolls_one_way_only(page, width):
    page.screen(width, 800, mobile=width < 700)
    page.wait(f"innerWidth === {width} && dpem.map.canvas.clientWidth < {width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        "[...document.querySelectorAll('.card, button, footer *')]"
        ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map((e) => e.id || e.className)"
    )
    assert outside == []


def luminance(rgb):
    return float(linear_of(rgb) @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    """Contrast ratio by WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


#: What eyes without one kind of cone see, in linear RGB (Machado, Oliveira and Fernandes,
#: IEEE TVCG 15, 1291, 2009, severity 1).
EYES = {
    "all": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "protan": (
        *(0.152286, 1.052583, -0.204868),
        *(0.114503, 0.786281, 0.099216),
        *(-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        *(0.367322, 0.860646, -0.227968),
        *(0.280085, 0.672501, 0.047413),
        *(-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        *(1.255528, -0.076749, -0.178779),
        *(-0.078411, 0.930809, 0.147602),
        *(0.004733, 0.691367, 0.303900),
    ),
}
XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
NAMED = """
(() => {
  const c = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(document.documentElement);
  const out = {};
  for (const name of ["ink", "soft", "page", "card", "line", "accent", "focus", "forecast",
    "waiting", "blocked", "bad", "good", "second"]) {
    c.fillStyle = style.getPropertyValue(`--${name}`);
    c.fillRect(0, 0, 1, 1);
    out[name] = [...c.getImageData(0, 0, 1, 1).data].slice(0, 3);
  }
  return out;
})()
"""


def linear_of(rgb):
    share = np.array(rgb) / 255.0
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb, eyes):
    """CIE L*a*b* (D65) of a colour as some eyes see it."""
    seen = np.clip(np.reshape(EYES[eyes], (3, 3)) @ linear_of(rgb), 0.0, 1.0)
    x, y, z = np.cbrt(np.maximum(XYZ @ seen / [0.9505, 1.0, 1.089], 0.0089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart_by_all_eyes(page, scheme):
    page.prefer(scheme)
    page.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    shades = page.evaluate(
        "import('/assets/colours.js').then((m) => [.5, .6, .7, .8, .9, 1].map((f) => m.shade(f)))"
    )
    named = page.evaluate(NAMED)
    card = named["card"]
    # Graphics need 3:1 and text 4.5:1 (WCAG 2.2, 1.4.11 and 1.4.3).
    assert min(contrast(shade, card) for shade in shades) >= 3.0
    for name in ("line", "focus", "forecast", "waiting", "blocked", "second", "accent"):
        assert contrast(named[name], card) >= 3.0, name
    for name in ("ink", "soft", "bad", "good", "accent"):
        assert min(contrast(named[name], named[back]) for back in ("card", "page")) >= 4.5, name
    # Better is further from the panel for all eyes, and steps of 0.1 differ visibly.
    for eyes in EYES:
        steps = [lab(shade, eyes) for shade in shades]
        lights = [step[0] for step in steps]
        assert lights == sorted(lights, reverse=scheme == "light"), eyes
        assert min(np.linalg.norm(a - b) for a, b in itertools.pairwise(steps)) > 5.0, eyes
        # Lines that share a chart.
        for one, other in (("second", "accent"), ("accent", "blocked"), ("waiting", "blocked")):
            far = np.linalg.norm(lab(named[one], eyes) - lab(named[other], eyes))
            assert far > 12.0, (one, other, eyes)


def check_for_ever(running):
    while True:
        running.check()
        time.sleep(0.01)


def test_a_run_is_followed_and_stopped(tab, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    running = Attended(folder)
    with Served(folder) as served:
        tab.go(served.address(served.tokens.operate))
        tab.wait("document.querySelector('#status').textContent.startsWith('Waiting for a run')")
        with running:
            running.say("preparing the network")
            tab.wait("document.querySelector('#status').textContent === 'Preparing the network'")
            steps = play(folder, SETTING, seal=False)
            running.say("playing")
            next(steps)
            tab.wait(f"{NOW}.slot === 5 && dpem.page.frame.status.state === 'running'")
            # A little later more is known, without anybody asking.
            seen = next(itertools.islice(steps, 20, None)).slot
            tab.wait(f"{NOW}.slot === {seen} && dpem.page.updates >= 2")
            assert text(tab, "#clock") == f"{seen * 0.02:.1f} s of {seen * 0.02:.1f} s"
            tab.click("#stop-run")
            tab.wait("document.querySelector('#ask').open")
            tab.evaluate("document.querySelector('#reason').value = 'enough seen'")
            tab.click("#ask-yes")
            with pytest.raises(KeyboardInterrupt):
                check_for_ever(running)
            assert (running.wish.by, running.wish.reason) == ("the dashboard", "enough seen")
        # It goes as a killed one does, because this test plays no broker that would seal.
        tab.wait("document.querySelector('#status').dataset.state === 'killed'")
        steps.close()
        tab.wait("document.querySelector('#status').dataset.state === 'broken off'")
        assert not verify(folder).complete
        assert tab.evaluate("document.querySelector('#stop-run').hidden")
        assert tab.problems == []


def test_who_may_only_watch_cannot_stop(tab, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with Attended(folder) as running, Served(folder) as served:
        running.say("playing")
        steps = play(folder, SETTING, seal=False)
        next(steps)
        tab.go(served.address(served.tokens.observe))
        tab.wait(f"{NOW}.slot === 5 && dpem.page.frame.status.state === 'running'")
        assert not tab.evaluate("document.querySelector('#stop-run').hidden")
        assert tab.evaluate("document.querySelector('#stop-run').disabled")
        body = '{"what": "run", "reason": "I want to"}'
        asked = f"fetch('/stop', {{method: 'POST', body: {body!r}}}).then((a) => a.status)"
        assert tab.evaluate(asked) == 403
        running.check()
        assert running.wish is None
        steps.close()
    tab.problems.clear()


def test_a_damaged_record_is_said_in_one_line(tab, tmp_path, finished):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in finished.watch.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    events = bytearray((folder / "events.jsonl").read_bytes())
    events[len(events) // 2] ^= 1
    (folder / "events.jsonl").write_bytes(events)
    with Served(folder) as served:
        tab.go(served.address(served.tokens.operate))
        tab.wait("dpem.page.frame.status?.state === 'damaged'")
        said = text(tab, "#notice")
        assert said.startswith("The record is damaged: events.jsonl line ")
        assert said.endswith("does not continue the hash chain")
        # What came before the damage is shown.
        assert 0 < tab.evaluate(f"{NOW}.slot") < SETTING.seconds / 0.02
        assert tab.problems == []


RACK = one_link(
    "bench",
    """
timeout_s = 20.0
""",
    head="""
[safety]
linger_s = 30.0
""",
)


def test_the_emergency_stop_asks_nothing_and_latches_the_rack(tab, tmp_path):
    """A real supervisor on a stub; the run that uses it is only its record's header."""
    rack = tmp_path / "rack.toml"
    rack.write_text(RACK)
    folder = tmp_path / "run"
    header = {"setting": {"rack": str(rack), "backend": "lab"}, "horizon": 50}
    header |= {"slots": 50, "warmup_slots": 0}
    nodes = [{"name": "a"}, {"name": "b"}]
    network = {"name": "bench", "nodes": nodes, "links": [{"a": "a", "b": "b"}]}
    supervisor = Launched(rack, "stub")
    try:
        with Attended(folder) as running, RecordWriter(folder, header) as record:
            running.say("playing")
            record.write_file("network.json", json.dumps(network).encode())
            record.flush()
            with Served(folder) as served:
                tab.go(served.address(served.tokens.observe))
                tab.wait("document.querySelector('#estop').checkVisibility()")
                assert tab.evaluate("document.querySelector('#estop').disabled")
                body = '{"what": "instruments", "reason": "I want to"}'
                asked = f"fetch('/stop', {{method: 'POST', body: {body!r}}}).then((a) => a.status)"
                assert tab.evaluate(asked) == 403
                assert read_kept(place_of(rack)).latched == ""
                tab.go(served.address(served.tokens.operate))
                tab.wait("dpem.page.greeting?.role === 'operate'")
                tab.wait("document.querySelector('#estop:enabled').checkVisibility()")
                tab.click("#tab-instruments")
                tab.wait("document.querySelector('#panel td:nth-child(4)').textContent === '● ok'")
                tab.click("#estop")
                tab.wait(
                    "document.querySelector('#notice').textContent.startsWith('Emergency stop')"
                )
                assert "all instruments were read back as safe" in text(tab, "#notice")
                assert "emergency stop on the page" in read_kept(place_of(rack)).latched
                tab.wait("document.querySelector('#estop').hidden")
                tab.wait("document.querySelector('#panel').textContent.includes('latched in its')")
    finally:
        supervisor.close(10.0)

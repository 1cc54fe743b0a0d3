"""Pictures: right titles, nothing overlapping or cut, also for empty, short and long runs."""

import io
import itertools
import math
import re
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from rich.console import Console

from controller.picture import network, network_figure, run, run_figure
from controller.table import Live, facts_table, live_table, summary_table
from quantum.errors import InputError
from quantum.estimate import Estimate

SUMMARY: dict[str, Any] = {
    "pairs_requested": 3612,
    "pairs_delivered": 2931,
    "delivery_rate": 0.811,
    "fraction_of_bound": 0.902,
    "bound": 3250,
    "seconds": 60.0,
    "contention": 0.0026,
    "fidelity": {"low": 0.893, "best": 0.902, "high": 0.911, "confidence": 0.95, "shots": 3000},
    "latency_ms": {"p50": 61.2, "p99": 440.0},
}
RIVALS = {
    "mean-rate": {"delivery_rate": 0.803, "fraction_of_bound": 0.892, "contention": 0.0029},
    "adaptive-continuous": {"delivery_rate": 0.62, "fraction_of_bound": 0.69},
    "on-demand": {"delivery_rate": 0.36, "fraction_of_bound": 0.40, "contention": 0.0121},
}


def series(size: int) -> dict[str, list[float | None]]:
    time = np.arange(1.0, size + 1)
    asked = 60 + 15 * np.sin(time / 4)
    best = 0.9 + 0.03 * np.sin(time)
    return {
        "time_s": time.tolist(),
        "requested": asked.tolist(),
        "delivered": (0.8 * asked).tolist(),
        "fidelity_low": (best - 0.05).tolist(),
        "fidelity_best": best.tolist(),
        "fidelity_high": np.minimum(1, best + 0.04).tolist(),
        "levels": [0.75, 0.85],
        "round": (1 + np.arange(max(1, size // 5))).tolist(),
        "reward": (0.3 + 0.01 * np.arange(max(1, size // 5))).tolist(),
        "epsilon": np.sqrt(1 + np.arange(max(1, size // 5))).tolist(),
    }


def many(count: int) -> dict[str, dict[str, float]]:
    return {f"rival-number-{i}": {"delivery_rate": i / count} for i in range(count)}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return the figures that are drawn, to look at their parts."""
    figures: list[Figure] = []

    for module in (run, network):
        original = module.to_bytes

        def keep(figure: Figure, kind: str, original: Any = original) -> bytes:
            figures.append(figure)
            return bytes(original(figure, kind))

        monkeypatch.setattr(module, "to_bytes", keep)
    return figures


def texts(figure: Figure) -> list[Text]:
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [t for t in found if isinstance(t, Text) and t.get_text().strip()]


def assert_tidy(figure: Figure) -> None:
    """Check that no titles, labels and legends meet or leave the page."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    page = figure.bbox
    boxes = []
    for axes in figure.axes:
        if not axes.axison:
            continue
        parts: list[Any] = [axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title]  # type: ignore[attr-defined]
        parts += list(axes.texts)
        parts += [t for t in axes.get_yticklabels() if t.get_text()]
        parts += [axes.get_legend()] if axes.get_legend() else []
        for part in parts:
            if isinstance(part, Text) and not part.get_text():
                continue
            box = part.get_window_extent(renderer)
            low, high = axes.bbox.y0 - 2, axes.bbox.y1 + 2
            if part in axes.get_yticklabels() and not low <= (box.y0 + box.y1) / 2 <= high:
                continue  # ticks beyond the limits are not drawn
            boxes.append((str(part), box))
    if figure._suptitle is not None:  # type: ignore[attr-defined]
        boxes.append(("headline", figure._suptitle.get_window_extent(renderer)))  # type: ignore[attr-defined]
    for name, box in boxes:
        assert page.x0 <= box.x0, name
        assert box.x1 <= page.x1, name
        assert page.y0 <= box.y0, name
        assert box.y1 <= page.y1, name
    for (name, box), (other, second) in itertools.combinations(boxes, 2):
        wide = min(box.x1, second.x1) - max(box.x0, second.x0)
        high = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert wide <= 1 or high <= 1, f"{name} meets {other}"


CASES = [
    (series(60), SUMMARY, RIVALS),
    (series(1), SUMMARY, {}),
    (series(600), {**SUMMARY, "allocator": "mean-rate"}, many(12)),
    ({**series(20), "epsilon": [None] * 4}, {**SUMMARY, "bound": None}, many(7)),
    ({**series(20), "fidelity_best": [None] * 20}, {**SUMMARY, "fidelity": None}, RIVALS),
    ({"time_s": [1.0], "requested": [0.0], "delivered": [0.0]}, {"pairs_requested": 0}, {}),
    ({}, {}, {}),
]


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_drawn_tidily(case: Any, drawn: list[Figure]) -> None:
    data = run_figure(*case)
    assert imread(io.BytesIO(data), format="png").shape[:2] == (1184, 1760)  # 11 x 7.4 in, 160 dpi
    assert_tidy(drawn[0])


def test_the_tidiness_check_finds_overlaps() -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.text(0.5, 0.5, "one")
    axes.text(0.51, 0.5, "two")
    with pytest.raises(AssertionError, match="meets"):
        assert_tidy(figure)


def test_titles_say_what_was_found(drawn: list[Figure]) -> None:
    run_figure(series(60), SUMMARY, RIVALS)
    said = "\n".join(t.get_text() for t in texts(drawn[0]))
    assert "dpem delivered 2,931 of 3,612 requested pairs, 90% of the upper bound" in said
    assert "81% of the requested pairs came in time and good" in said
    assert "Measured fidelity 0.902, between 0.893 and 0.911" in said
    assert "dpem 0.811, best rival mean-rate 0.803" in said
    assert "Reward 0.3 → 0.41 in 12 rounds, ε = 3.46" in said
    for label in ("network time (s)", "pairs per second", "fidelity", "federated round"):
        assert label in said


def test_the_bound_is_drawn_as_a_rate(drawn: list[Figure]) -> None:
    run_figure(series(60), SUMMARY, {})
    lines = {str(line.get_label()): line for line in drawn[0].axes[0].get_lines()}
    # 3250 pairs in 60 s.
    assert np.unique(lines["bound (mean)"].get_ydata()).tolist() == [pytest.approx(3250 / 60)]


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        ({"requested": []}, "no pairs were requested"),
        ({"fidelity_best": []}, "no pair was tested, so no fidelity is known"),
        ({"reward": []}, "no federated round took place"),
    ],
)
def test_an_empty_panel_says_why(panel: dict[str, Any], said: str, drawn: list[Figure]) -> None:
    run_figure({**series(10), **panel}, {**SUMMARY, "fidelity": None}, {})
    assert said in [t.get_text() for t in texts(drawn[0])]


def mesh(size: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(size)
    place = rng.uniform(0, 100, (size, 2))
    ends = np.array([(i, i + 1) for i in range(size - 1)] + [(0, size - 1)])
    best = rng.uniform(0.82, 0.97, len(ends))
    fidelity = np.stack([best - 0.03, best, best + 0.02], axis=1)
    fidelity[::7] = math.nan
    return place, ends, fidelity, rng.exponential(3, size)


NETWORKS = [
    (mesh(60), {"levels": [0.8, 0.9], "name": "mesh-0"}),
    (([[0, 0], [50, 1]], [[0, 1]], [[0.9, 0.92, 0.94]], [1, 1]), {"levels": [0.75]}),
    (([[0, 0], [50, 1]], [[0, 1]], [[math.nan] * 3], [0, 0]), {"levels": [0.75]}),
    (([[0, 0]], [], [], [0]), {}),
    (([], [], [], []), {}),
]


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_is_drawn_tidily(case: Any, drawn: list[Figure]) -> None:
    values, options = case
    data = network_figure(*values, **options)
    assert imread(io.BytesIO(data), format="png").shape[:2] == (896, 1760)  # 11 x 5.6 in, 160 dpi
    assert_tidy(drawn[0])


def test_a_network_counts_its_good_links(drawn: list[Figure]) -> None:
    fidelity = [[0.91, 0.92, 0.93], [0.85, 0.9, 0.95], [0.7, 0.75, 0.8], [math.nan] * 3]
    network_figure(
        [[0, 0], [10, 0], [0, 10]], [[0, 1], [1, 2], [0, 2], [0, 1]], fidelity, [1, 2, 3],
        levels=[0.75, 0.9], name="tri",
    )  # fmt: skip
    said = [t.get_text() for t in texts(drawn[0])]
    assert "tri: 1 of 4 links lie above 0.90 with their interval, 1 below" in said
    assert "never tested" in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"fidelity": [[0.9, 0.9, 0.9]] * 2},
        {"demand_hz": [1.0]},
        {"demand_hz": [-1.0, 1.0]},
        {"position_km": [[0, 0], [math.nan, 0]]},
        {"links": [[0, 2]]},
        {"kind": "pdf"},
    ],
)
def test_a_wrong_network_is_refused(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "position_km": [[0, 0], [1, 0]],
        "links": [[0, 1]],
        "fidelity": [[0.8, 0.9, 1.0]],
        "demand_hz": [1.0, 1.0],
    }
    assert network_figure(**good)
    with pytest.raises(InputError):
        network_figure(**{**good, **wrong})


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_same_values_give_same_bytes_and_leave_no_settings(kind: str) -> None:
    before = dict(mpl.rcParams)
    first = run_figure(series(2), SUMMARY, {}, kind=kind)
    assert first == run_figure(series(2), SUMMARY, {}, kind=kind)
    assert dict(mpl.rcParams) == before
    assert not re.search(rb"<dc:date>|Matplotlib v", first)


def shown(renderable: Any, width: int = 110) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_summary_table_ranks_by_delivery() -> None:
    text = shown(summary_table(SUMMARY, RIVALS, title="run [0]"))
    assert "run [0]" in text
    order = ("dpem", "mean-rate", "adaptive-continuous", "on-demand")
    places = [text.index(name) for name in order]
    assert places == sorted(places)
    assert "lost by it" not in text, "a column that nobody knows is left out"
    assert re.search(r"dpem +0\.8110 +0\.9020 +0\.0026 +61\.2", text)


def test_tables_of_an_empty_run_can_be_shown() -> None:
    assert "dpem" in shown(summary_table({}))
    assert shown(facts_table({})).strip() == ""


def test_facts_leave_out_what_is_not_known() -> None:
    text = shown(facts_table({**SUMMARY, "epsilon": None, "run_dir": "runs/[a]"}))
    assert "0.893, 0.902, 0.911 (confidence 0.95, 3,000 shots)" in text
    assert "runs/[a]" in text
    assert "epsilon" not in text


def test_facts_say_that_privacy_is_off() -> None:
    off = {**SUMMARY, "privacy": "none", "aggregator": "median", "epsilon": None, "delta": None}
    text = " ".join(shown(facts_table({**off, "federated_rounds": 3})).split())
    assert "NONE: weights were shared without noise, 3 rounds (median)" in text
    on = {**off, "privacy": "central", "aggregator": "mean", "epsilon": 7.99, "delta": 1e-3}
    text = " ".join(shown(facts_table({**on, "federated_rounds": 3})).split())
    assert "central: epsilon 7.99 at delta 0.001, over all 3 rounds (mean)" in text


def test_the_live_view_shows_where_the_run_stands() -> None:
    early = shown(live_table(Live(0.0, 60.0, 0, 0, 0.0)))
    assert "0.0 of 60.0 s" in early
    assert "not tested yet" in early
    estimate = Estimate(low=0.88, best=0.9, high=0.92, confidence=0.95, shots=300)
    late = shown(live_table(Live(12.3, 60.0, 700, 533, 0.0031, estimate, 3, 0.31, 0.8)))
    assert "533 (76.1%)" in late  # 533 / 700
    assert "0.900 (0.880 to 0.920)" in late
    assert "epsilon 0.8" in late

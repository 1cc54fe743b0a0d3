"""Figures and report of a comparison: tidy with many allocators, true to the numbers."""

import itertools

import msgspec
import numpy as np
import pytest
from rich.console import Console

from controller.arena.report import draw, report_text
from controller.arena.summary import summarise
from controller.arena.tables import rows_of, write_tables
from controller.arena.text import show
from controller.arena.unit import Figures, Unit
from controller.picture import cast, loads, pairs, regimes, sweeps
from controller.picture.sweeps import crossing
from quantum.presets import cells
from quantum.seeding import generator

MANY = [
    "dpem", "adaptive-continuous", "max-weight", "mcf-lp", "mean-rate", "mean-rate-plain",
    "on-demand", "oracle", "pant", "pant-cached", "q-cast", "q-cast-cached", "q-pass",
    "q-pass-cached", "reps", "reps-cached", "swap-asap", "uniform",
]  # fmt: skip


def units(of, names, seeds, nodes=100):
    """Make units whose first allocator wins at short deadlines only."""
    rng = generator(0, "pictures")
    out = []
    for cell, seed in itertools.product(of, seeds):
        size = int(cell.topology[5:]) if cell.topology.startswith("mesh-") else nodes
        bound, luck, figures = 0.95, rng.normal(0.0, 0.02), {}
        for number, name in enumerate(names):
            share = 0.9 - 0.03 * number + luck - 0.0004 * size
            share -= 0.1 if number == 0 and cell.deadline_s >= 1.0 else 0.0
            share = float(np.clip(share + rng.normal(0.0, 0.003), 0.02, 1.0))
            figures[name] = Figures(
                delivery_rate=share * bound,
                fraction_of_bound=share,
                contention=0.01 * (1.1 - share),
                contention_loss=0.1 * (1.0 - share),
                pairs_delivered=1000 * share,
                fidelity=0.93,
                latency_ms=200.0 * (1.5 - share),
                jain=0.8,
            )
        out.append(
            Unit(
                cell=cell,
                seed=seed,
                network=seed % 4,
                load_hz=cell.load_hz or 60.0 * cell.knee_fraction,
                requests=300,
                pairs_requested=1200,
                bound=1200 * bound,
                allocators=figures,
                nodes=size,
            )
        )
    return out


def found(of, names, seeds=range(3)):
    return summarise("paper", names, list(seeds), units(of, names, seeds))


SIZED = [
    msgspec.structs.replace(cell, topology=f"mesh-{size}")
    for size in (25, 50, 100)
    for cell in cells("paper")[:2]
]
CASES = {
    "one": (cells("paper")[:1], MANY[:1]),
    "two": (cells("paper"), MANY[:2]),
    "many": (cells("paper"), MANY),
    "sizes": (SIZED, MANY[:9]),
    "fast": (cells("fast"), MANY[:4]),
}


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures that are drawn, to look at their parts."""
    figures = []
    for module in (loads, pairs, regimes, sweeps):

        def keep(figure, kind, original=module.to_bytes):
            figures.append(figure)
            return original(figure, kind)

        monkeypatch.setattr(module, "to_bytes", keep)
    return figures


def boxes_of(figure):
    """Yield the place of every title, label and legend."""
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        if axes.axison:
            parts = [axes.xaxis.label, axes.yaxis.label, axes._left_title]
            # Ticks beyond the limits are not drawn.
            low, high = sorted(axes.get_ylim())
            parts += [t for t in axes.get_yticklabels() if low <= t.get_position()[1] <= high]
            parts += [axes.get_legend()] if axes.get_legend() else []
            for part in parts:
                if not hasattr(part, "get_text") or part.get_text():
                    yield str(part), part.get_window_extent(renderer)
    for part in [figure._suptitle, *figure.legends]:
        yield str(part), part.get_window_extent(renderer)


@pytest.mark.parametrize("case", CASES)
def test_figures_are_tidy(case, drawn):
    made = draw(found(*CASES[case]))
    assert len(drawn) == len(made) >= 2
    for figure, data in zip(drawn, made.values(), strict=True):
        assert data.startswith(b"\x89PNG")
        page, places = figure.bbox, list(boxes_of(figure))
        for name, box in places:
            assert page.x0 <= box.x0 and box.x1 <= page.x1, name
            assert page.y0 <= box.y0 and box.y1 <= page.y1, name
        for (name, box), (other, second) in itertools.combinations(places, 2):
            wide = min(box.x1, second.x1) - max(box.x0, second.x0)
            high = min(box.y1, second.y1) - max(box.y0, second.y0)
            assert wide <= 1 or high <= 1, f"{name} meets {other}"


def test_same_numbers_same_pictures():
    first, again = (draw(found(cells("paper")[:3], MANY[:3])) for _ in range(2))
    assert first == again and set(first) == {"delivery", "pairs", "regimes", "contention"}


def test_every_allocator_looks_different():
    looks = cast.cast(rows_of(found(cells("paper"), MANY)), "dpem")
    assert len({(look.colour, look.marker, str(look.dashes)) for look in looks.values()}) == 18
    assert looks["dpem"].width == max(look.width for look in looks.values())


def test_the_map_shows_who_wins_where():
    """The judged one loses a tenth at long deadlines: it is first at short ones only."""
    of = [cell for cell in cells("metro") if cell.qubits == 6 and cell.demand == "poisson"]
    won = regimes.regimes(rows_of(found(of, ["ours", "theirs"], seeds=range(4))))
    assert len(won) == len(of)
    for regime in won:
        assert regime.winner == ("ours" if "0.3 s" in regime.row else "theirs")
        assert regime.sure and 0.01 < regime.margin < 0.1


def test_a_sweep_of_delays_marks_the_crossing(drawn):
    rows = [
        {"allocator": name, "service_s": s, "fraction_of_bound": share, "nodes": 10}
        for s, near in ((0.0, 0.9), (0.1, 0.8), (0.2, 0.6))
        for name, share in (("dpem", 0.7), ("central", near))
    ]
    assert sweeps.delay_figure(rows, "dpem").startswith(b"\x89PNG")
    assert drawn[0]._suptitle.get_text() == "dpem and central cross at 150 ms"
    assert crossing([0.0, 1.0], [1.0, 1.0], [0.5, 0.9]) is None


def test_tables_fit_and_rank(capsys):
    whole = found(cells("paper"), MANY)
    console = Console(width=100)
    with console.capture() as said:
        show(whole, "paper", console)
    lines = said.get().splitlines()
    assert "…" not in said.get() and max(map(len, lines)) <= 100
    ranks = [line.split()[0] for line in lines if line.strip().split(" ")[0] in MANY]
    best = sorted(MANY, key=lambda name: -whole.allocators[name].fraction_of_bound)
    assert ranks[: len(MANY)] == best
    assert sum(" dpem <" in line for line in lines) == 1


def test_report_has_the_numbers(tmp_path):
    whole = found(SIZED, MANY[:4])
    text = report_text(whole, "Sizes", ["delivery"])
    mean = whole.allocators["dpem"].fraction_of_bound
    assert f"| **dpem** | {mean:.3f} |" in text and "nan" not in text
    assert "![delivery](figures/delivery.png)" in text
    line = whole.sizes["dpem"]["delivery_rate"]
    assert f"{100 * line.slope:+.4f}" in text and f"{line.r2:.3f}" in text
    assert write_tables(whole, tmp_path) == ["units.csv", "units.parquet"]
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "units.parquet")
    assert table.num_rows == len(whole.cells) * 4
    assert (tmp_path / "units.csv").read_text().count("\n") == table.num_rows + 1
    rows = rows_of(whole)
    assert table["fraction_of_bound"].to_pylist() == [row["fraction_of_bound"] for row in rows]


def test_json_holds_no_nan():
    one = found(cells("paper")[:1], MANY[:2], seeds=[0])
    text = msgspec.json.encode(one)
    assert b"NaN" not in text and msgspec.json.decode(text)["paired"]

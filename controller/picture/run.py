"""The picture of one run: what was asked, what was delivered, how good it was, what was learnt."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from controller.picture.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    check_format,
    empty,
    headline,
    look,
    new_figure,
    to_bytes,
)

__all__ = ["run_figure"]

Floats = NDArray[np.float64]
Summary = Mapping[str, Any]


def run_figure(
    series: Mapping[str, Sequence[float | None]],
    summary: Summary,
    rivals: Mapping[str, Summary],
    *,
    kind: str = "png",
) -> bytes:
    """Draw a run in four panels and return the bytes of a ``png`` or ``svg`` file.

    ``series`` holds lists, each optional; lists of one group may differ in length, the shortest
    counts, and None is a gap:

    - ``time_s``: end of each window, seconds of network time; ``requested`` and ``delivered``:
      pairs per second in that window; ``fidelity_low``, ``fidelity_best``, ``fidelity_high``: the
      pooled estimate at that time;
    - ``levels``: the fidelities that requests ask for;
    - ``round``, ``reward`` (mean per agent and slot), ``epsilon`` (spent so far): one value a
      federated round.

    ``summary`` has the keys of ``dpem run --json``; with ``seconds`` (evaluated network time)
    beside ``bound`` the level of the bound is drawn. ``allocator`` names the run's own (``dpem``).
    ``rivals`` maps a name to its ``delivery_rate`` and ``fraction_of_bound`` on the same draws.
    """
    check_format(kind)
    with look():
        figure = new_figure(11, 7.4)
        grid = figure.add_gridspec(2, 2, height_ratios=(1, 1), hspace=0.08, wspace=0.06)
        _pairs(figure.add_subplot(grid[0, 0]), series, summary)
        _fidelity(figure.add_subplot(grid[0, 1]), series, summary)
        _rivals(figure.add_subplot(grid[1, 0]), summary, rivals)
        _learning(figure, grid[1, 1], series)
        headline(figure, _finding(summary))
        return to_bytes(figure, kind)


def _finding(summary: Summary) -> str:
    name = str(summary.get("allocator", "dpem"))
    asked, given = _number(summary, "pairs_requested"), _number(summary, "pairs_delivered")
    if math.isnan(asked) or math.isnan(given):
        return f"{name}: a run without requests"
    line = f"{name} delivered {given:,.0f} of {asked:,.0f} requested pairs"
    share = _number(summary, "fraction_of_bound")
    return line if math.isnan(share) else f"{line}, {share:.0%} of the upper bound"


def _pairs(axes: Axes, series: Mapping[str, Any], summary: Summary) -> None:
    time, asked, given = _group(series, "time_s", "requested", "delivered")
    if not len(time):
        empty(axes, "no pairs were requested")
        return
    axes.fill_between(time, asked, step=None, color=SKY, alpha=0.30, linewidth=0)
    axes.plot(time, asked, color=SKY, label="requested", marker=_dot(time))
    axes.plot(time, given, color=BLUE, label="delivered in time", marker=_dot(time))
    bound = _number(summary, "bound") / (_number(summary, "seconds") or math.nan)
    if not math.isnan(bound):
        axes.axhline(bound, color=INK, linestyle=(0, (5, 3)), linewidth=1.3, label="bound (mean)")
    rate = _number(summary, "delivery_rate")
    axes.set_title(
        "Pairs delivered over time"
        if math.isnan(rate)
        else f"{rate:.0%} of the requested pairs came in time and good"
    )
    _time_axis(axes, time)
    axes.set_ylabel("pairs per second")
    # Room for the legend above the highest curve.
    top = np.nanmax([*asked, *given, bound, 1e-9])
    axes.set_ylim(0, 1.28 * top)
    axes.legend(loc="upper left", ncols=3, fontsize=9.5, handlelength=1.8, columnspacing=1.4)


def _fidelity(axes: Axes, series: Mapping[str, Any], summary: Summary) -> None:
    time, low, best, high = _group(
        series, "time_s", "fidelity_low", "fidelity_best", "fidelity_high"
    )
    if not len(time) or np.all(np.isnan(best)):
        empty(axes, "no pair was tested, so no fidelity is known")
        return
    fidelity = summary.get("fidelity")
    total = fidelity if isinstance(fidelity, Mapping) else {}
    confidence = _number(total, "confidence")
    band = "interval" if math.isnan(confidence) else f"{confidence:.0%} interval"
    axes.fill_between(time, low, high, color=GREEN, alpha=0.22, linewidth=0, label=band)
    if len(time) == 1:
        axes.vlines(time, low, high, color=GREEN, alpha=0.4, linewidth=6)
    axes.plot(time, best, color=GREEN, label="measured", marker=_dot(time))
    levels = sorted({float(v) for v in series.get("levels", ()) if v is not None})
    for number, level in enumerate(levels):
        label = "requested" if number == 0 else None
        axes.axhline(level, color=VERMILION, linestyle=(0, (5, 3)), linewidth=1.3, label=label)
    if math.isnan(_number(total, "best")):
        axes.set_title("Measured fidelity of delivered paths")
    else:
        worst, likely, most = (_number(total, key) for key in ("low", "best", "high"))
        axes.set_title(f"Measured fidelity {likely:.3f}, between {worst:.3f} and {most:.3f}")
    _time_axis(axes, time)
    axes.set_ylabel("fidelity")
    bottom = min(np.nanmin(low), *levels) if levels else np.nanmin(low)
    top = max(np.nanmax(high), *levels) if levels else np.nanmax(high)
    room = max(top - bottom, 0.02)
    axes.set_ylim(max(0.0, bottom - 0.08 * room), top + 0.30 * room)
    axes.set_yticks([t for t in axes.get_yticks() if t <= 1.0 + 1e-9])
    axes.set_ylim(max(0.0, bottom - 0.08 * room), top + 0.30 * room)
    axes.legend(loc="upper left", ncols=3, fontsize=9.5, handlelength=1.8, columnspacing=1.4)


def _rivals(axes: Axes, summary: Summary, rivals: Mapping[str, Summary]) -> None:
    own = str(summary.get("allocator", "dpem"))
    rows = {name: values for name, values in rivals.items() if name != own}
    rates = {name: _number(values, "delivery_rate") for name, values in rows.items()}
    rates[own] = _number(summary, "delivery_rate")
    known = [name for name in rates if not math.isnan(rates[name])]
    if not known:
        empty(axes, "no allocator was compared")
        return
    order = sorted(known, key=lambda name: (rates[name], name))
    shares = [_number({**rows, own: summary}[name], "fraction_of_bound") for name in order]
    place = np.arange(len(order), dtype=float)
    crowded = len(order) > 7
    size = 8.5 if crowded else 9.5
    pairs = (
        (place + 0.2, [rates[name] for name in order], (BLUE, SKY), "delivery rate"),
        (place - 0.2, shares, (ORANGE, "#F5D99B"), "fraction of the bound"),
    )
    for where, values, (strong, pale), label in pairs:
        colours = [strong if name == own else pale for name in order]
        axes.barh(where, np.nan_to_num(values), height=0.36, color=colours, label=label)
        for y, value in zip(where, values, strict=True):
            if not crowded and not math.isnan(value):
                axes.text(value + 0.012, y, f"{value:.2f}", va="center", fontsize=size)
    for y, name, share in zip(place, order, shares, strict=True) if crowded else ():
        both = f"{rates[name]:.2f}" + ("" if math.isnan(share) else f"  {share:.2f}")
        axes.text(np.nanmax([rates[name], share]) + 0.012, y, both, va="center", fontsize=size)
    labels = order if crowded else [_folded(name) for name in order]
    axes.set_yticks(place, labels, fontsize=size + 0.5)
    # A few bars stay slim.
    axes.set_ylim(min(0, len(order) - 4) - 0.6, len(order) - 0.4)
    for tick, name in zip(axes.get_yticklabels(), order, strict=True):
        tick.set_fontweight("bold" if name == own else "normal")
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.2 if crowded else 1.12)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("share of requested pairs, share of the bound")
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=9.5, handlelength=1.2
    )
    for handle, (_, _, (strong, _), _) in zip(legend.legend_handles, pairs, strict=True):
        if handle is not None:
            handle.set(color=strong)
    axes.set_title(_comparison(own, rates, known), pad=30)


def _comparison(own: str, rates: Mapping[str, float], known: Sequence[str]) -> str:
    others = [name for name in known if name != own]
    if not others or own not in known:
        return "Delivery rate and fraction of the bound"
    best = max(others, key=lambda name: rates[name])
    return f"{own} {rates[own]:.3f}, best rival {best} {rates[best]:.3f}"


def _learning(figure: Figure, place: SubplotSpec, series: Mapping[str, Any]) -> None:
    number, reward = _group(series, "round", "reward")
    spent = _group(series, "round", "epsilon")[1]
    unprotected = bool(np.isinf(spent).any())
    spent = spent[np.isfinite(spent)]
    if not len(number):
        empty(figure.add_subplot(place), "no federated round took place")
        return
    inner = place.subgridspec(
        2 if len(spent) else 1, 1, height_ratios=(3, 2)[: 1 + bool(len(spent))]
    )
    top = figure.add_subplot(inner[0])
    top.plot(number, reward, color=BLUE, marker=_dot(number, 40))
    top.set_ylabel("reward")
    count = f"{len(number)} federated round" + ("s" if len(number) != 1 else "")
    finite = reward[np.isfinite(reward)]
    title = count
    if len(finite) > 1:
        title = f"Reward {finite[0]:.3g} → {finite[-1]:.3g} in {len(number)} rounds"
    if unprotected:
        title += ", no privacy"
    last = top
    if len(spent):
        title += f", ε = {spent[-1]:.3g}"
        last = figure.add_subplot(inner[1], sharex=top)
        last.plot(number[: len(spent)], spent, color=VERMILION, marker=_dot(number, 40))
        last.set_ylabel("privacy loss ε")
        last.set_ylim(0, 1.15 * float(spent.max()) or 1.0)
        last.yaxis.set_major_locator(MaxNLocator(3))
        top.tick_params(labelbottom=False)
    top.set_title(title)
    last.set_xlabel("federated round")
    if len(number) == 1:
        last.set_xlim(number[0] - 1, number[0] + 1)
    last.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.align_ylabels([top, last])


def _group(series: Mapping[str, Any], *keys: str) -> list[Floats]:
    """Return the lists as arrays of one length, gaps as nan."""
    arrays = [
        np.array([math.nan if v is None else float(v) for v in series.get(key) or ()])
        for key in keys
    ]
    size = min(len(a) for a in arrays)
    return [a[:size] for a in arrays]


def _number(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, Real) else math.nan


def _time_axis(axes: Axes, time: Floats) -> None:
    axes.set_xlabel("network time (s)")
    if len(time) == 1:
        axes.set_xlim(0, 2 * float(time[0]) or 1.0)


def _folded(name: str) -> str:
    """Break a long name after its first hyphen, so that the bars keep their room."""
    return name.replace("-", "-\n", 1) if len(name) > 12 else name


def _dot(values: Floats, few: int = 2) -> str | None:
    """Mark single points, which a line alone would not show."""
    return "o" if len(values) <= few else None

"""Figures about scores: what they cost to believe, what they depend on, and how they are fooled."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .canvas import (
    EMPTY,
    GUIDANCE,
    NOISE,
    PROMPT,
    SIGNAL,
    WIDTH,
    chart,
    new_page,
)

Reach = tuple[float, float, float]  # a value with the two ends of its interval
LOOKS = [
    {"color": SIGNAL, "marker": "o", "ls": "-"},
    {"color": PROMPT, "marker": "s", "ls": "--"},
    {"color": GUIDANCE, "marker": "D", "ls": "-."},
    {"color": NOISE, "marker": "^", "ls": ":"},
    {"color": EMPTY, "marker": "v", "ls": (0, (6, 2, 1, 2))},
]
SPREAD = "spread of seeds (numbers at the points: guidance g)"
ROUND = [n * 10**k for k in range(-3, 5) for n in (1, 2, 5)]  # ticks of logarithmic axes
RING = {"marker": "o", "ms": 15, "mfc": "none", "mec": NOISE, "mew": 2, "ls": "none"}


def _whiskers(axes, x, reaches: Sequence[Reach], **style) -> None:
    """Values over x, each with its interval."""
    value, low, high = np.array(reaches).T
    ends = np.clip([value - low, high - value], 0, None)
    axes.errorbar(x, value, yerr=ends, capsize=2.5, lw=1.4, ms=5, **style)


def _bands(axes, curves: Mapping[str, Mapping[int, Sequence[float]]]) -> None:
    """Means over sizes with the band that holds nine of ten distances, on logarithmic axes."""
    for look, (name, curve) in zip(LOOKS, curves.items()):
        sizes, values = list(curve), [np.asarray(held) for held in curve.values()]
        low, high = zip(*(np.quantile(held, (0.05, 0.95)) for held in values))
        axes.fill_between(sizes, low, high, color=look["color"], alpha=0.2, lw=0)
        axes.plot(sizes, [held.mean() for held in values], **look, ms=4, lw=1.4, label=name)
    axes.set(xscale="log", yscale="log")
    for axis, limits in ((axes.xaxis, (sizes[0], sizes[-1])), (axes.yaxis, axes.get_ylim())):
        ticks = [n for n in ROUND if limits[0] <= n <= limits[1]]
        axis.set_ticks(ticks, [f"{n:g}" for n in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, handlelength=3)


def trust(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    trade: Mapping[float, tuple[Reach, Reach]],
    size: int | None = None,
    scale: float | None = None,
    claim: str = "A score means something only with its number of pictures and its settings",
) -> Figure:
    """Left: Frechet distances {name: {number of pictures: distances}}. Right: {guidance: (share of
    right pictures, how different the seeds of one prompt are)}. size, scale: what to ring."""
    ends = [f"{name} from {_mean(c, 0):.1f} to {_mean(c, -1):.1f}" for name, c in curves.items()]
    alt = f"{claim}. Distances over the number of pictures: {'; '.join(ends)}. "
    page = new_page(4.2, claim, alt + f"Right: {_trade_told(trade)}.")
    titles = "Frechet distance, judge's features", "Everything right, against variety"
    left = chart(page, 0.75, 0.65, 3.7, 2.95, xlabel="pictures of either set, N", title=titles[0])
    _bands(left, curves)
    if size:
        left.axvline(size, color=NOISE, lw=1.5)
    right = chart(page, 5.15, 0.65, 3.65, 2.95, xlabel=SPREAD, title=titles[1])
    for axes in (left, right):
        axes.title.set(fontsize=9)
    _trade(right, trade, scale)
    lowest = min((low for (_, low, _), _ in trade.values()), default=0)
    right.set(ylim=(max(-0.03, lowest - 0.05), 1.03))
    return page.figure


def _trade(axes, trade: Mapping[float, tuple[Reach, Reach]], scale: float | None) -> None:
    """A path from g to g; both directions with their intervals."""
    for g, (right, variety) in trade.items():
        (y, *tall), (x, *wide) = right, variety
        axes.plot([x, x], tall, color=GUIDANCE, lw=0.9, alpha=0.35)
        axes.plot(wide, [y, y], color=GUIDANCE, lw=0.9, alpha=0.35)
        axes.annotate(f"{g:g}", (x, y), xytext=(5, 5), textcoords="offset points", size=8)
        if g == scale:
            axes.plot([x], [y], **RING)
    places = [(variety[0], right[0]) for right, variety in trade.values()]
    if places:
        axes.plot(*zip(*places), color=GUIDANCE, marker="D", ms=4, lw=1.2)


def _mean(curve: Mapping[int, Sequence[float]], which: int) -> float:
    return float(np.mean(list(curve.values())[which]))


def _trade_told(trade: Mapping[float, tuple[Reach, Reach]]) -> str:
    told = [f"g {g:g}: {right[0]:.0%} right, spread {s[0]:.2f}" for g, (right, s) in trade.items()]
    return ", ".join(told)


def panels(
    charts: Mapping[str, Mapping[str, Mapping]],
    claim: str,
    *,
    xlabels: Sequence[str] = (),
    ylabel: str = "",
    levels: Mapping[str, float] | None = None,
    log: Sequence[str] = (),
    ylim: tuple[float, float] | None = None,
) -> Figure:
    """Charts side by side, {title: {name: {x: (value, low, high) or value}}}; x may be words.

    levels: dotted lines in each chart; log: titles of charts whose x axis is logarithmic.
    """
    alt = f"{claim}. Charts of {ylabel}: {'; '.join(map(_told, charts.items()))}."
    page, wide = new_page(3.2, claim, alt), (WIDTH - 0.75) / len(charts)
    for number, (title, curves) in enumerate(charts.items()):
        axes = chart(page, 0.68 + number * wide, 0.68, wide - 0.35, 1.85, title=title)
        axes.title.set(fontsize=9)
        for place, (name, curve) in enumerate(curves.items()):
            _curve(axes, place, name, curve, title in log)
        for height in (levels or {}).values():
            axes.axhline(height, color="black", lw=1, ls=":")
        _x_axis(axes, [x for curve in curves.values() for x in curve], title in log)
        axes.set(xlabel=xlabels[number] if xlabels else "", ylabel="" if number else ylabel)
        if ylim:
            axes.set(ylim=ylim)
    handles, names = page.figure.axes[1].get_legend_handles_labels()
    style = {"loc": "upper right", "ncols": len(names), "frameon": False, "fontsize": 8}
    page.figure.legend(handles, names, handlelength=3, **style)
    for name, height in (levels or {}).items():
        place = {"xycoords": ("axes fraction", "data"), "xytext": (0, 4)}
        axes.annotate(name, (0.5, height), textcoords="offset points", size=8, **place)
    return page.figure


def _curve(axes, place: int, name: str, curve: Mapping, log: bool) -> None:
    """One curve; with intervals a little to one side, so that whiskers do not hide each other."""
    look, x, values = LOOKS[place], list(curve), list(curve.values())
    if not isinstance(values[0], tuple):
        axes.plot(x, values, **look | {"marker": ""}, lw=1.4, label=name)
        return
    if any(isinstance(one, str) for one in x):
        if place == 0:
            axes.set_xticks(range(len(x)), x)
        x, look = [k + 0.12 * place for k in range(len(x))], look | {"ls": "none"}
    elif log:
        x = [one * 1.03**place for one in x]
    _whiskers(axes, x, values, **look, label=name)


def _x_axis(axes, places: Sequence, log: bool) -> None:
    """Ticks where there are points: words slanted, numbers on a logarithmic axis plain."""
    if any(isinstance(x, str) for x in places):
        axes.tick_params(axis="x", labelsize=8, rotation=20)
        axes.margins(x=0.15)
    elif log:
        ticks = sorted(set(places))
        axes.set(xscale="log")
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.minorticks_off()


def _told(chart_: tuple[str, Mapping[str, Mapping]]) -> str:
    """First and last value of each curve, for the alt text."""
    title, curves = chart_
    said = []
    for name, curve in curves.items():
        first, last = ((v[0] if isinstance(v, tuple) else v) for v in _ends(curve))
        said.append(f"{name} from {first:.2f} to {last:.2f}")
    return f"{title}: {', '.join(said)}"


def _ends(curve: Mapping) -> tuple:
    values = list(curve.values())
    return values[0], values[-1]


def dots(rows: Mapping[str, Mapping[str, Reach]], claim: str, xlabel: str = "") -> Figure:
    """Shares with their intervals, {row: {series: (value, low, high)}}, a line for each row."""
    names = list(next(iter(rows.values())))
    told = [
        f"{row} {', '.join(f'{s} {v[0]:.0%}' for s, v in held.items())}"
        for row, held in rows.items()
    ]
    page = new_page(0.95 + 0.3 * len(rows), claim, f"{claim}. {'; '.join(told)}.")
    axes = chart(page, 1.3, 0.42, 6.0, 0.3 * len(rows), xlabel=xlabel, xlim=(0, 1.02))
    for number, (name, look) in enumerate(zip(names, LOOKS)):
        height = np.arange(len(rows)) + 0.16 * (2 * number - len(names) + 1)
        value, low, high = np.array([held[name] for held in rows.values()]).T
        ends = np.clip([value - low, high - value], 0, None)
        style = look | {"ls": "none", "ms": 5, "capsize": 2.5}
        axes.errorbar(value, height, xerr=ends, **style, label=name)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(ylim=(len(rows) - 0.5, -0.5))
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return page.figure

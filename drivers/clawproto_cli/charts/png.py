"""A chart as PNG, drawn by matplotlib (the extra ``plot``)."""

from pathlib import Path
from typing import Any

from clawproto_cli.charts.chart import Chart, Panel, amount

_PALE, _BAND = "#57606a", "#f2d7d5"


def write(chart: Chart, path: Path) -> None:
    """Draw ``chart`` and write it to ``path``.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    height = 1.5 + 3.1 * len(chart.panels)
    figure: Any = Figure(figsize=(11, height), dpi=120)  # matplotlib's own types are only partly known
    FigureCanvasAgg(figure)
    figure.text(0.075, 1 - 0.32 / height, chart.title, size=15, weight="bold", va="center")
    figure.text(0.075, 1 - 0.6 / height, chart.subtitle, size=10, color=_PALE, va="center")
    figure.text(0.075, 0.12 / height, chart.footer, size=8, color=_PALE, family="monospace", va="bottom")
    axes = figure.subplots(len(chart.panels), 1, squeeze=False)
    for index, panel in enumerate(chart.panels):
        _draw(axes[index][0], panel)
    figure.subplots_adjust(left=0.075, right=0.98, top=1 - 1.2 / height, bottom=0.85 / height, hspace=0.55)
    figure.savefig(path, metadata={"Software": None})


def _draw(axes: Any, panel: Panel) -> None:
    for number, band in enumerate(panel.bands):
        axes.axvspan(band.begin, max(band.end, band.begin + 1e-9), facecolor=_BAND, edgecolor=_BAND)
        left = (band.begin - panel.x_range[0]) / (panel.x_range[1] - panel.x_range[0])
        side, at, shift = ("right", band.begin, -4) if left > 0.75 else ("left", band.end, 4)
        axes.annotate(
            band.label,
            (at, 1),
            (shift, -6 - 12 * (number % 4)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="top",
            size=8.5,
            color="#a04038",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
        )
    for series in panel.series:
        xs, ys = [x for x, _ in series.points], [y for _, y in series.points]
        if panel.style == "line":
            axes.plot(xs, ys, color=series.color, label=series.label, linewidth=1.8)
        else:
            base = 1 if panel.log else 0
            xs, ys = [*xs, panel.x_range[1]], [*ys, 0]
            tops = [max(y, base * 1.04) if y else base for y in ys]
            axes.fill_between(
                xs, tops, base, step="post", color=series.color, label=series.label, linewidth=1.0, alpha=0.85
            )
    axes.set_title(panel.title, loc="left", size=11, weight="bold")
    axes.set_xlabel(panel.x_label, size=9, color=_PALE)
    axes.set_ylabel(panel.y_label, size=9, color=_PALE)
    axes.set_xlim(*panel.x_range)
    if panel.log:
        axes.set_yscale("log")
    axes.set_ylim(*panel.y_range)
    axes.set_xticks(panel.x_ticks, [amount(tick) for tick in panel.x_ticks], size=9)
    axes.set_yticks(panel.y_ticks, [amount(tick) for tick in panel.y_ticks], size=9)
    axes.minorticks_off()
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9, borderaxespad=0.2)

"""Charts: the same description as SVG, PNG and blocks."""

import xml.etree.ElementTree as ET
from pathlib import Path

from clawproto_cli.charts import png, svg
from clawproto_cli.charts.chart import Band, Chart, Panel, Series, amount, largest_per_column
from clawproto_cli.charts.terminal import scale, sparkline

PANEL = Panel(
    title="Load <of> & all",
    x_label="hours",
    y_label="per second",
    series=(Series("one", "#112233", [(0.0, 5.0), (6.0, 0.0), (12.0, 900.0)]), Series("two", "#445566", [(0.0, 50.0)])),
    x_range=(0.0, 24.0),
    y_range=(1.0, 1600.0),
    log=True,
    bands=(Band(6.0, 7.0, "outage"), Band(23.0, 23.0, "restart")),
)
LINE = Panel(
    title="Back",
    x_label="seconds",
    y_label="%",
    series=(Series("one", "#112233", [(0.0, 0.0), (3.0, 100.0)]),),
    x_range=(0.0, 3.0),
    y_range=(0.0, 104.0),
    style="line",
)
CHART = Chart("Title", "subtitle", (PANEL, LINE), "command --with 'quotes'")


def _texts(document: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(document).iter("{http://www.w3.org/2000/svg}text")]


def test_svg_is_well_formed_and_says_everything() -> None:
    texts = _texts(svg.draw(CHART))
    for expected in ("Title", "Load <of> & all", "hours", "per second", "one", "two", "outage", "restart", "1 k", "24"):
        assert expected in texts
    assert CHART.footer in texts
    assert svg.draw(CHART) == svg.draw(CHART)


def test_bars_are_as_high_as_their_logarithm() -> None:
    root = ET.fromstring(svg.draw(CHART))
    path = next(element for element in root.iter("{http://www.w3.org/2000/svg}path")).attrib["d"]
    bars = [bar.split("V") for bar in path.removesuffix("z").split("z")]
    assert len(bars) == 2, "what is 0 is not drawn"
    bottom = float(bars[0][2])
    low, high = (bottom - float(bar[1].split("h")[0]) for bar in bars)
    assert abs(high / low - 4.226) < 0.05  # log 900 / log 5


def test_png_is_written(tmp_path: Path) -> None:
    png.write(CHART, tmp_path / "chart.png")
    content = (tmp_path / "chart.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    png.write(CHART, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == content


def test_no_peak_is_lost_when_columns_are_put_together() -> None:
    values = [0] * 1_000
    values[617] = 42
    assert max(largest_per_column(values, 72)) == 42
    assert len(largest_per_column(values, 72)) <= 72
    assert largest_per_column(values, 10, 600, 620) == [0] * 8 + [42, 0]


def test_axes_have_round_ticks() -> None:
    assert PANEL.x_ticks == [0, 3, 6, 9, 12, 15, 18, 21, 24]
    assert PANEL.y_ticks == [1, 10, 100, 1000]
    assert LINE.y_ticks == [0, 20, 40, 60, 80, 100]
    assert [amount(value) for value in (0.5, 1, 2_500, 1_000_000)] == ["0.5", "1", "2.5 k", "1 M"]


def test_blocks_grow_with_the_logarithm() -> None:
    line = sparkline([0, 1, 10, 100, 1_000], 1_000)
    assert line[0] == " " and line[-1] == "█"
    assert list(line) == sorted(line)
    assert sparkline([0, 1_000], 1_000, plain=True).isascii()
    assert scale("0", "12:00", "24:00", 20) == "0    12:00     24:00"

"""The chart of a report as a picture, drawn by Matplotlib where the extra `charts` is installed.

Mail programs run no scripts and show no SVG, so the chart of the page cannot be sent itself. It takes some 70 MB of a
worker's memory, which is why it is an extra.
"""

import io
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from portal.reports.answer import ReportAnswer
from usage.explore.charts import build_charts
from usage.explore.rows import build_rows
from usage.explore.steps import Question

MAX_INTERVALS: Final = 370  # each is a bar of every series, and a picture has to be drawn in a second
MAX_TICKS: Final = 8
LONGEST_LABEL: Final = 40
INCHES: Final = (8.0, 3.4)


def draw_chart(answer: ReportAnswer) -> tuple[bytes, str] | None:
    """Return the first chart of the page as PNG with its title; None where there is none, or nothing that draws it."""
    figure_class = load_figure_class()
    if figure_class is None:
        return None
    question = Question(answer.kind, answer.page_params)
    charts = build_charts(answer.answer, build_rows(answer.answer), question)
    if charts is None or len(charts["labels"]) > MAX_INTERVALS:
        return None
    panel = charts["panels"][0]
    figure = figure_class(figsize=INCHES, dpi=100, layout="constrained")
    axes = figure.subplots()
    if charts["labels"]:
        draw_intervals(axes, panel, charts["labels"])
    else:
        draw_bars(axes, panel)
    title = f"{panel['title']} ({panel['drawn_in']})" if panel["drawn_in"] else panel["title"]
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue(), title


@cache
def load_figure_class() -> Any:
    """Return Matplotlib's figure, None where it is not installed. Texts of vendors are no formulas to it."""
    if find_spec("matplotlib") is None:
        return None
    import_module("matplotlib").rcParams["text.parse_math"] = False
    return import_module("matplotlib.figure").Figure


def draw_intervals(axes: Any, panel: dict[str, Any], labels: Sequence[str]) -> None:
    """Draw a bar for each interval, of all series stacked where they may be added, else a line for each."""
    places, below = range(len(labels)), [0.0] * len(labels)
    for series in panel["series"]:
        values, label = scale(series["values"], panel["size"]), shorten(series["name"])
        if panel["stacked"]:
            axes.bar(places, values, bottom=below, width=0.85, label=label)
            below = [lower + value for lower, value in zip(below, values, strict=True)]
        else:
            axes.plot(places, values, marker="o", markersize=3, label=label)
    step = -(-len(labels) // MAX_TICKS)
    axes.set_xticks(list(places)[::step], [shorten(label) for label in labels[::step]], rotation=20, ha="right")
    if len(panel["series"]) > 1:
        axes.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_bars(axes: Any, panel: dict[str, Any]) -> None:
    """Draw a bar for each group, the largest at the top."""
    places = range(len(panel["labels"]))
    axes.barh(places, scale(panel["values"], panel["size"]))
    axes.set_yticks(list(places), [shorten(label) for label in panel["labels"]])
    axes.invert_yaxis()


def scale(values: Sequence[str | None], size: float) -> list[float]:
    """Return numbers in the unit of the axis; an unknown number draws nothing."""
    return [float(value) / size if value is not None else 0.0 for value in values]


def shorten(label: str) -> str:
    """Return a label that leaves room for the chart; a space, since Matplotlib leaves out what begins with `_`."""
    return f" {label[:LONGEST_LABEL]}{'…' if len(label) > LONGEST_LABEL else ''}"

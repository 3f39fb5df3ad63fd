"""A quantity of all stacks as a chart: medians with their spread, ranks with their ties.

Vega-Lite draws it into SVG that takes its colours from the page.
"""

from __future__ import annotations

import math
import multiprocessing
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import vl_convert

ROW = 17  # pixels for a stack
WIDTH = 220
TEXT = 'font-family="system-ui, sans-serif" font-size="11px"'
# What makes a drawing of forty stacks long and says nothing that the page does not: patterns, and
# what takes their place.
LEAN = (
    (r' (?:aria-[\w-]+|role|class|pointer-events|xmlns:\w+|stroke-miterlimit)="[^"]*"', ""),
    (rf" {TEXT}", ""),
    (r' (?:opacity|stroke-width)="1"', ""),
    (r'(?<=[(,"MLAh])(-?\d+\.\d)\d+(?=[^"<>]*"[^<]*>)', r"\1"),
    (r'<path d="[^"]*h0v0h0Z"/>|<path d=""[^>]*/>|<text [^>]*/>', ""),
    (r"<g>(<g[^>]*>(?:<line[^>]*/>)*</g>)</g>", r"\1"),
)


@dataclass(frozen=True)
class Point:
    """A figure of a stack: its median between its quartiles, or itself where it has no spread.

    `value` is None where nothing came of it, and `note` then says what was seen instead. Those with
    an equal `rank` cannot be told apart.
    """

    stack: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    rank: int | None = None
    is_tied: bool = False

    @property
    def place(self) -> str:
        return f"{self.rank}{'=' * self.is_tied}" if self.rank else ""

    @property
    def shown(self) -> str:
        return self.note if self.value is None else f"{self.value:,.4g}{self.note}"


@dataclass(frozen=True)
class Panel:
    """One quantity of all stacks, with its unit."""

    title: str
    unit: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Figure:
    """Panels that answer one question, and where they come from.

    `key` is the figure's address. `provenance` has a line for each machine or day, `missing` the
    stacks that nobody measured.
    """

    key: str
    title: str
    text: str
    command: str
    panels: Sequence[Panel] = ()
    provenance: Sequence[str] = ()
    missing: Sequence[str] = field(default_factory=list)


# Ties


def ranked(points: Iterable[Point], *, lowest_is_best: bool = True) -> list[Point]:
    """Return points in order, each with its rank.

    Who overlaps with the first of a rank, quartile with quartile, shares it; the next rank counts them
    all. Without a spread only equal values are tied. What has no value comes last, without a rank.
    """
    sign = 1 if lowest_is_best else -1
    points = list(points)
    valued = sorted((p for p in points if p.value is not None), key=lambda p: sign * (p.value or 0))
    groups: list[list[Point]] = []
    for point in valued:
        if groups and _overlap(groups[-1][0], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    placed: list[Point] = []
    for group in groups:
        rank = len(placed) + 1
        placed += [replace(point, rank=rank, is_tied=len(group) > 1) for point in group]
    return placed + [point for point in points if point.value is None]


def _overlap(one: Point, other: Point) -> bool:
    (low, high), (other_low, other_high) = bounds(one), bounds(other)
    return other_low <= high and low <= other_high


def bounds(point: Point) -> tuple[float, float]:
    value = point.value or 0.0
    low = value if point.low is None else point.low
    return low, value if point.high is None else point.high


# Drawing


def draw(panel: Panel) -> str:
    """Return a panel as SVG whose colours are the page's: `var(--accent)` and so on."""
    values = [_datum(point) for point in panel.points]
    svg = vl_convert.vegalite_to_svg(_spec(panel, values))
    for pattern, replacement in LEAN:
        svg = re.sub(pattern, replacement, svg)
    return svg.replace("<svg ", f'<svg aria-hidden="true" focusable="false" {TEXT} ', 1)


def draw_all(panels: Sequence[Panel]) -> Future[list[str]]:
    """Draw panels in a process of its own, which leaves this one's core to the rest of the page."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    drawing = pool.submit(_draw_each, panels)
    pool.shutdown(wait=False)
    return drawing


def _draw_each(panels: Sequence[Panel]) -> list[str]:
    return [draw(panel) for panel in panels]


def _datum(point: Point) -> dict[str, Any]:
    low, high = bounds(point)
    return {
        "stack": point.stack,
        "value": point.value,
        "low": None if point.value is None else low,
        "high": None if point.value is None else high,
        "shown": "" if point.value is None else f"{point.value:,.4g}",
        "place": point.place,
        "note": point.note.strip(),
        "note_at": WIDTH + (8 if point.value is None else 84),
        "colour": "var(--accent)" if point.rank == 1 else "var(--soft)",
    }


def _spec(panel: Panel, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # Widths of text are those of the browser's font, which nobody knows here.
    labels = {"minExtent": 6.6 * max(len(point.stack) for point in panel.points)}
    stack = {"field": "stack", "type": "nominal", "sort": None, "title": None, "axis": labels}
    x = {"type": "quantitative", "title": panel.unit or None} | _scale(panel)
    colour = {"field": "colour", "type": "nominal", "scale": None}
    valued = [{"filter": "isValid(datum.value)"}]
    return {
        "data": {"values": list(values)},
        "width": WIDTH,
        "height": {"step": ROW},
        "padding": {"left": 2, "top": 4, "right": 24, "bottom": 2},
        "encoding": {"y": stack},
        "layer": [
            {
                "transform": valued,
                "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.45},
                "encoding": {
                    "x": x | {"field": "low"},
                    "x2": {"field": "high"},
                    "color": colour,
                },
            },
            {
                "transform": valued,
                "mark": {"type": "point", "filled": True, "size": 38, "opacity": 1},
                "encoding": {"x": x | {"field": "value"}, "color": colour},
            },
            _text("shown", {"value": WIDTH + 54}, "right"),
            _text("place", {"value": WIDTH + 62}, "left"),
            _text("note", {"field": "note_at", "type": "quantitative", "scale": None}, "left"),
        ],
        "config": _config(),
    }


def _text(field: str, x: Mapping[str, Any], align: str) -> dict[str, Any]:
    mark = {"type": "text", "align": align, "fontSize": 11, "color": "var(--ink)"}
    return {"mark": mark, "encoding": {"x": x, "text": {"field": field}}}


def _scale(panel: Panel) -> dict[str, Any]:
    """Return a scale from 0, or one of powers of ten for what spans several of them."""
    bounded = [bounds(point) for point in panel.points if point.value is not None]
    lowest = min((low for low, _ in bounded), default=0)
    highest = max((high for _, high in bounded), default=0)
    if lowest <= 0 or highest / lowest < 30:
        return {"scale": {"zero": True}}
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    domain = [10.0 ** powers[0], 10.0 ** powers[-1]]
    return {
        "scale": {"type": "log", "domain": domain},
        "axis": {"values": [10.0**power for power in powers], "format": "~g"},
    }


@cache
def _config() -> dict[str, Any]:
    return {
        "background": None,
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": "var(--ink)",
            "labelFontSize": 11,
            "labelLimit": 200,
            "titleColor": "var(--soft)",
            "titleFontWeight": "normal",
            "gridColor": "var(--line)",
            "domain": False,
            "ticks": False,
        },
        "axisX": {"tickCount": 4, "labelOverlap": "greedy", "labelSeparation": 8},
        "axisY": {"grid": False, "labelPadding": 8},
    }

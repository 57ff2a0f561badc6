"""Plots as inline SVG: functions of data, with a title and a description for those who do not see them.

Colours and type come from the page's style sheet, by class, so one picture serves light, dark and paper. Bars are
measured in per cent of the page's width and text in its own size, so that it can be read on a telephone; curves have a
picture of their own each, which is about as wide as a telephone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

from smart_llm.text.safe import visible

WIDTH, HEIGHT = 360, 248
"""Of a curve, in its own units."""
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 26, 42
"""Its margins."""
BAR, GAP = 26, 30
"""Heights of a bar and of the line of text over it."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Agreement as rows were compared. points: (rows, share, lower, upper). bottom: where the vertical axis begins."""

    points: Sequence[tuple[int, float, float, float]]
    target: float
    bottom: float
    colour: str
    name: str


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar. colour: a class of the style sheet."""

    name: str
    value: float
    colour: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar made of parts, and the words over it."""

    name: str
    said: str
    parts: Sequence[Part]


def agreement(curve: Curve, ident: str) -> Markup:
    """Share agreeing over rows compared, with limits, and the target as a dashed line."""
    most = curve.points[-1][0]
    x = _scale(0, most, LEFT, WIDTH - RIGHT)
    y = _scale(curve.bottom, 1.0, HEIGHT - BOTTOM, TOP)
    held = [(n, *(min(1.0, max(curve.bottom, each)) for each in each_)) for n, *each_ in curve.points]
    band = [(x(n), y(up)) for n, _, _, up in held] + [(x(n), y(low)) for n, _, low, _ in reversed(held)]
    line = [(x(n), y(share)) for n, share, *_ in held]
    last, share = line[-1], curve.points[-1][1]
    target = y(max(curve.bottom, curve.target))
    described = (
        f"After {most:,} rows {curve.name} agreed on {share:.3f} of them, limits {curve.points[-1][2]:.3f} to "
        f"{curve.points[-1][3]:.3f}; the target is {curve.target:g}."
    )
    drawn = [
        *(_tick_y(y(at), f"{at:.2f}") for at in ticks(curve.bottom, 1.0, 4)),
        *(_tick_x(x(at), f"{at:,.0f}") for at in ticks(0, most, 4) if at == int(at)),
        _line("target", (LEFT, target), (WIDTH - RIGHT, target)),
        Markup('<path class="band {}" d="{}"/>').format(curve.colour, _path(band, close=True)),
        Markup('<path class="curve {}" d="{}"/>').format(curve.colour, _path(line)),
        Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(curve.colour, *last),
        _text((WIDTH - RIGHT, HEIGHT - 6), "rows compared", "axis", "end"),
        _text((LEFT - 36, TOP - 14), "agreement", "axis"),
        _text((LEFT + 6, target + (-5 if target > TOP + 14 else 13)), f"target {curve.target:g}", "axis strong"),
    ]
    title = f"Agreement of {curve.name} as rows were profiled"
    return _picture(ident, title, described, drawn, f'viewBox="0 0 {WIDTH} {HEIGHT}"')


def bars(bars_: Sequence[Bar], title: str, ident: str, *, unit: Callable[[float], str]) -> Markup:
    """Bars over one another on a common axis that begins at 0. unit: writes a number."""
    most = max((sum(part.value for part in bar.parts) for bar in bars_), default=0.0) or 1.0
    places = [at for at in ticks(0, most, 4) if at <= most]
    bottom = len(bars_) * (BAR + GAP)
    drawn: list[Markup] = []
    for at in places:
        share = 100 * at / most
        drawn.append(
            Markup('<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="8" y2="{1}"/>').format(share, bottom + 6)
        )
        anchor = "start" if share < 4 else "end" if share > 94 else "middle"
        drawn.append(_text((f"{share:.2f}%", bottom + 22), unit(at), "axis", anchor))
    for k, bar in enumerate(bars_):
        top = k * (BAR + GAP)
        drawn += [_text(("0", top + 19), bar.name, "name"), _text(("100%", top + 19), bar.said, "said", "end")]
        drawn += _parts(bar.parts, most, top + GAP - 4, BAR)
    described = "; ".join(f"{bar.name}: {bar.said}" for bar in bars_)
    return _picture(ident, title, described, drawn, f'width="100%" height="{bottom + 30}"')


def whole(parts: Sequence[Part], title: str, ident: str) -> Markup:
    """One bar that is all there is, and whose it is."""
    total = sum(part.value for part in parts) or 1.0
    described = ", ".join(f"{part.name} {part.value:,.0f}" for part in parts)
    return _picture(ident, title, described, _parts(parts, total, 0, BAR), f'width="100%" height="{BAR}"')


def interval(value: float, lower: float, upper: float) -> Markup:
    """A share with its limits on a line from 0 to 1; the numbers stand beside it, so it says nothing to a reader."""
    return Markup(
        '<svg class="interval" width="100%" height="12" aria-hidden="true"><line class="rule" x1="0" x2="100%" y1="6" '
        'y2="6"/><line class="limits" x1="{:.1f}%" x2="{:.1f}%" y1="6" y2="6"/><circle cx="{:.1f}%" cy="6" r="3.5"/>'
        "</svg>"
    ).format(*(3 + 94 * each for each in (lower, upper, value)))


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round places from low to high, about `count` of them."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** floor(log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


# --------------------------------------------------------------------------- pieces


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From data to places, linearly."""
    factor = (end - start) / ((high - low) or 1.0)
    return lambda value: start + (value - low) * factor


def _picture(ident: str, title: str, described: str, drawn: Sequence[Markup], size: str) -> Markup:
    return Markup(
        '<svg role="img" aria-labelledby="{0}-t {0}-d" {1}><title id="{0}-t">{2}</title><desc id="{0}-d">{3}</desc>{4}'
        "</svg>"
    ).format(ident, Markup(size), visible(title), visible(described), Markup("").join(drawn))


def _parts(parts: Sequence[Part], total: float, top: float, height: float) -> list[Markup]:
    drawn, start = [], 0.0
    for part in parts:
        width = 100 * part.value / total
        if width > 0:
            drawn.append(
                Markup(
                    '<rect class="{}" x="{:.3f}%" width="{:.3f}%" y="{}" height="{}"><title>{}</title></rect>'
                ).format(part.colour, start, width, top, height, visible(part.name))
            )
        start += width
    return drawn


def _tick_x(x: float, text: str) -> Markup:
    grid = _line("grid", (x, TOP), (x, HEIGHT - BOTTOM))
    return grid + _text((x, HEIGHT - BOTTOM + 15), text, "axis", "middle")


def _tick_y(y: float, text: str) -> Markup:
    return _line("grid", (LEFT, y), (WIDTH - RIGHT, y)) + _text((LEFT - 6, y + 4), text, "axis", "end")


def _line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> Markup:
    line = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return line.format(kind, *start, *end)


def _text(at: tuple[float | str, float], text: str, kind: str, anchor: str = "start") -> Markup:
    x = at[0] if isinstance(at[0], str) else f"{at[0]:.1f}"
    return Markup('<text class="{}" x="{}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, at[1], anchor, visible(text)
    )


def _path(points: Sequence[tuple[float, float]], *, close: bool = False) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if close else "")

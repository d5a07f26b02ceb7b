"""Results of drills -> one HTML page with plots.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLOURS = {
    "fra": "#4477aa", "iad": "#228833", "sin": "#ccbb44", "cloud": "#66ccee",
    "in flight": "#bbbbbb", "shifted": "#aa3377", "failed": "#ee2222",
}  # fmt: skip
WIDTH, LANE, LEFT = 900, 46, 130
CLOSE, ROWS = 14, 3  # numbers of marks that are closer than this stand below one another
_HEAD = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Drills</title>
<style>
body { font: 14px/1.45 sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .15em .7em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } svg { display: block; margin: 1em 0 } .seen { color: #777 }
.bad { color: #c00; font-weight: bold } details { margin: .5em 0 }
</style>
<h1>Drills</h1>
<p>Users of three regions ask by DNS and fetch by HTTP all the while. <b>Failed</b> is who was not served. Apart from that are requests
<b>in flight</b> on a backend at the moment when it was killed, and flows by anycast that were open while routes moved (<b>shifted</b>).
<b>Late</b>: served, but after more than a second. <b>Wrong</b>: answered with a site that should not have been; - where any may be. <b>Degraded</b>: seconds in
which somebody waited for what then failed.</p>
"""
COLUMNS = ("requests", "failed", "in_flight", "shifted", "late", "wrong_site", "degraded_s", "slowest_s")
_NAMES = ("requests", "failed", "in flight", "shifted", "late", "wrong", "degraded s", "slowest s")


def page(found: Sequence[Mapping[str, Any]]) -> str:
    """The page of some results, as `result.to_json` makes them."""
    names = [(f'<a href="#{one["drill"]}">{escape(one["title"])}</a>', one["score"]) for one in found]
    return _HEAD + _table("drill", names) + "".join(_drill(one) for one in found) + "</html>\n"


def plot(one: Mapping[str, Any]) -> str:
    """Requests of each second, by who served them or what became of them; a lane for each audience, a line for what was done."""
    lanes = one["audiences"]
    wide = (WIDTH - LEFT) / max(1.0, one["seconds"] + 1)
    high = len(lanes) * LANE
    parts = [f'<svg viewBox="0 0 {WIDTH} {high + 80}" width="{WIDTH}" height="{high + 80}" font-size="11">']
    for number, (name, told) in enumerate(lanes.items()):
        base = (number + 1) * LANE
        most = max([1, *(sum(second.values()) for second in told["seconds"])])
        parts.append(f'<text x="{LEFT - 8}" y="{base - 12}" text-anchor="end">{escape(name)}</text>')
        for second, met in enumerate(told["seconds"]):
            parts += _bar(LEFT + second * wide, base, wide, met, (LANE - 8) / most)
    row, before = 0, -CLOSE
    for number, line in enumerate((line for line in one["timeline"] if line["kind"] == "done"), start=1):
        x = LEFT + line["at"] * wide
        row = (row + 1) % ROWS if x - before < CLOSE else 0
        before = x
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{high + 4}" stroke="#000" stroke-dasharray="3 3"/>')
        title = f"<title>{escape(line['what'])}</title>"
        parts.append(f'<text x="{x:.1f}" y="{high + 15 + row * 10}" text-anchor="middle">{number}{title}</text>')
    step = next(step for step in (1, 5, 10, 30, 60, 300) if one["seconds"] / step <= 14 or step == 300)
    for second in range(0, int(one["seconds"]) + 1, step):
        parts.append(f'<text x="{LEFT + second * wide:.1f}" y="{high + 52}" fill="#777">{second} s</text>')
    for number, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + number * 90
        parts.append(f'<rect x="{x}" y="{high + 62}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="{high + 71}">{name}</text>')
    return "\n".join([*parts, "</svg>"])


def _bar(x: float, base: float, wide: float, met: Mapping[str, int], scale: float) -> list[str]:
    parts, y = [], base
    for name, colour in COLOURS.items():
        if times := met.get(name, 0):
            y -= times * scale
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{times * scale:.1f}" fill="{colour}"/>'
            )
    return parts


def _drill(one: Mapping[str, Any]) -> str:
    numbers = {id(line): n for n, line in enumerate((x for x in one["timeline"] if x["kind"] == "done"), start=1)}
    lines = "".join(
        f'<tr class="{line["kind"]}"><td>{line["at"]:.2f} s</td><td>{numbers.get(id(line), "")}</td>'
        f'<td style="text-align:left">{escape(line["what"])}</td></tr>\n'
        for line in one["timeline"]
    )
    broken = "".join(f'<p class="bad">not kept: {escape(why)}</p>\n' for why in one["broken"])
    facts = "".join(f"<li>{escape(str(name))}: {escape(str(value))}</li>" for name, value in one["facts"].items())
    return (
        f'<h2 id="{one["drill"]}">{escape(one["title"])}</h2>\n<p>{escape(one["promise"])}</p>\n{broken}'
        f"{plot(one)}\n{_table('audience', list(one['audiences'].items()))}\n"
        f"{f'<ul>{facts}</ul>' if facts else ''}"
        f"<details open><summary>Timeline</summary><table>{lines}</table></details>\n"
    )


def _table(what: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in (what, *_NAMES))
    body = "".join(
        f"<tr><td>{name}</td>" + "".join(_cell(column, told[column]) for column in COLUMNS) + "</tr>\n"
        for name, told in rows
    )
    return f"<table><tr>{head}</tr>\n{body}</table>\n"


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "<td>-</td>"
    bad = ' class="bad"' if value and column in ("failed", "degraded_s") else ""
    return f"<td{bad}>{round(value, 2):g}</td>"

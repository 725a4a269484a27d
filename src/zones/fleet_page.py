"""The fleet's report as one HTML page that needs nothing else: no network, no script, plots as inline SVG.

Not for reading the figures (`fleet_report`) and not for drawing (`plots`). Every plot has its figures as a table, too.
What comes from canisters is escaped, and the page's policy lets a browser load nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from zones.fleet_report import FleetReport
from zones.plots import Bar, Line, Plot, bars_plot, lines_plot, spark
from zones.tables import NS, Column, Table, days_shown, iso, time_shown

MOST_BARS = 40
"""How many zones the plot of runways has: the shortest runways. The table has all."""
MOST_DAYS = 90
"""Longest bar: what lasts longer needs no looking at."""
ZONE_CHARS = 10
"""What is shown of a zone id in the table, whose rows are named by their canisters."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: FleetReport) -> str:
    """Return the page."""
    title = f"Fleet of {report.figures['factory']}"
    sections = [
        _header(report, title),
        _alerts(report),
        _cycles(report),
        _burn(report),
        _runways(report),
        _zones(report),
    ]
    style = files("zones").joinpath("fleet_report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{"".join(sections)}</main>
</body>
</html>
"""


def cycles(amount: float) -> str:
    """Return an amount of cycles for an axis or a table: `1.5 T`, `20 G`."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if amount >= unit:
            return f"{amount / unit:,.4g} {name}"
    return f"{amount:.0f}"


def _header(report: FleetReport, title: str) -> str:
    figures = report.figures
    runway = figures["runway_days"]
    shown = {
        "Zones": figures["children"],
        "Battery": cycles(figures["cycles"]),
        "Reserve": cycles(figures["reserve"]),
        "Burn of the zones": f"{cycles(figures['fleet_burn'])} a day",
        "Battery lasts": "no burn yet" if runway is None else days_shown(runway),
        "Open alerts": figures["open_alerts"],
    }
    cards = "\n".join(f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>" for name, value in shown.items())
    return f"""<h1>{escape(title)}</h1>
<p class="quiet">{_time(report.made_at)} UTC, on {escape(report.network)}</p>
<dl>
{cards}
</dl>
"""


def _alerts(report: FleetReport) -> str:
    if not report.alerts:
        return _section("Alerts", "<p>No alert is open.</p>")
    columns = (
        Column("kind", "Alert", lambda kind: kind.replace("_", " ")),
        Column("canister", "Canister"),
        Column("raised_at", "Raised (UTC)", time_shown),
        Column("details", "Details"),
    )
    return _section("Alerts", _table("Open alerts, the newest first", Table(columns, report.alerts)))


def _cycles(report: FleetReport) -> str:
    battery = [(reading["time"], reading["battery"]) for reading in report.history]
    zones = [(reading["time"], reading["fleet"]) for reading in report.history]
    if not battery:
        return _section("Cycles", _NOT_READ)
    said = f"The battery: {_course(battery)}. All zones together: {_course(zones)}."
    lines = [Line("battery", "battery", battery), Line("all zones", "zones", zones)]
    drawn = lines_plot(
        Plot("cycles", "Cycles over time", said, cycles), lines, limit=("reserve", report.figures["reserve"])
    )
    columns = (
        Column("time", "Time (UTC)", _time),
        Column("battery", "Battery", cycles, right=True),
        Column("fleet", "All zones", cycles, right=True),
        Column("passed_on", "Passed on ever", cycles, right=True),
        Column("children", "Zones", right=True),
    )
    return _plotted("Cycles", said, drawn, Table(columns, report.history))


def _burn(report: FleetReport) -> str:
    burn = [(reading["time"], reading["burn"]) for reading in report.history]
    if not burn:
        return _section("Burn", _NOT_READ)
    said = f"What all zones burn a day: {_course(burn)}."
    drawn = lines_plot(Plot("burn", "Burn a day over time", said, cycles), [Line("all zones", "zones", burn)])
    columns = (Column("time", "Time (UTC)", _time), Column("burn", "Burn a day", cycles, right=True))
    return _plotted("Burn", said, drawn, Table(columns, report.history))


def _runways(report: FleetReport) -> str:
    read = sorted((zone for zone in report.zones if zone["read_at"]), key=_runway)
    if not read:
        return _section("Runway", _NOT_READ)
    limit = report.policy["alert_days"]
    low = sum(_runway(zone) < limit for zone in read)
    shown = read[:MOST_BARS]
    said = f"Days until a zone is frozen if nobody refills it: {low} of {len(read)} zones have less than {limit}."
    if len(shown) < len(read):
        said += f" The plot has the {len(shown)} shortest, the table below has all."
    bars = [Bar(zone["canister"][:11] + "…", zone["runway_days"], _runway(zone) < limit) for zone in shown]
    plot = Plot("runway", "Runway of the zones", said, _days)
    return _plotted("Runway", said, bars_plot(plot, bars, (f"alert below {_days(limit)}", limit), MOST_DAYS), None)


def _zones(report: FleetReport) -> str:
    columns = (
        Column("canister", "Canister"),
        Column("zone_id", "Zone", lambda zone_id: zone_id[:ZONE_CHARS] + "…"),
        Column("state", "State"),
        Column("code", "Code"),
        Column("cycles", "Cycles", cycles, right=True),
        Column("burn", "Burn a day", cycles, right=True),
        Column("runway_days", "Runway", _days, right=True),
    )
    if not report.zones:
        return _section("Zones", "<p>The factory has no zones yet.</p>")
    sparks = {zone["canister"]: _spark(report, zone["canister"]) for zone in report.zones}
    table = Table(columns, sorted(report.zones, key=_runway))
    return _section("Zones", _table("All zones, the shortest runway first", table, "Cycles over time", sparks))


def _spark(report: FleetReport, canister: str) -> str:
    points = [(reading["time"], reading["balance"]) for reading in report.zone_histories.get(canister, [])]
    return spark(f"Cycles of {canister}: {_course(points)}", points) if points else ""


_NOT_READ = (
    "<p>Nothing was read yet. The factory looks at its zones by itself; <code>zones fleet sweep</code> does so now.</p>"
)


def _plotted(title: str, said: str, drawn: str, table: Table | None) -> str:
    """Return a section with a plot, its description, and its figures."""
    figures = ""
    if table is not None:
        figures = f"<details>\n<summary>Figures</summary>\n{_table(f'{title}, oldest first', table)}</details>\n"
    frame = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}, plot">\n{drawn}\n</div>\n'
    return _section(title, f"<p>{escape(said)}</p>\n{frame}{figures}")


def _section(title: str, content: str) -> str:
    name = title.lower()
    return f'<section aria-labelledby="section-{name}">\n<h2 id="section-{name}">{title}</h2>\n{content}\n</section>\n'


def _table(caption: str, table: Table, extra: str = "", cells: dict[str, str] | None = None) -> str:
    """Return a table; `extra` heads a last column with the markup in `cells`, by canister."""
    heads = [f'<th scope="col"{_side(column)}>{escape(column.title)}</th>' for column in table.columns]
    if cells is not None:
        heads.append(f'<th scope="col">{escape(extra)}</th>')
    rows = []
    for row in table.rows:
        shown = [f"<td{_side(column)}>{escape(text)}</td>" for column, text in table.shown(row)]
        if cells is not None:
            shown.append(f"<td>{cells[row['canister']]}</td>")
        rows.append(f"<tr>{''.join(shown)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{''.join(heads)}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def _side(column: Column) -> str:
    return ' class="right"' if column.right else ""


def _course(points: Sequence[tuple[float, float]]) -> str:
    """Return in words how a figure went."""
    (first, before), (last, now) = points[0], points[-1]
    if first == last:
        return f"{cycles(now)} on {_time(last)}"
    return f"{cycles(before)} on {_time(first)}, {cycles(now)} on {_time(last)}"


def _runway(zone: dict[str, Any]) -> float:
    """Return a zone's runway in days, without end where it burns nothing or was never read."""
    return math.inf if zone["runway_days"] is None else zone["runway_days"]


def _days(days: float) -> str:
    return "no end" if math.isinf(days) else f"{days:,.0f} d"


def _time(seconds: float) -> str:
    return time_shown(iso(round(seconds) * NS) or "")[:-3]

"""The fleet's report in a headless Chromium: it opens from disk without a network, in both schemes, for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import chromium
from tests.support.chromium import Chromium
from tests.support.fleet_reports import DAY, NOW, report
from zones.fleet_page import MOST_BARS, page
from zones.fleet_report import FleetReport

PLOTS = ["cycles", "burn", "runway"]
PHONE = 390
CONTRAST = """
(() => {
  const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = colour => {
    const [red, green, blue] = colour.match(/[0-9.]+/g).slice(0, 3).map(text => channel(text / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = node => {
    const colour = getComputedStyle(node).backgroundColor;
    return colour === 'rgba(0, 0, 0, 0)' ? behind(node.parentElement) : colour;
  };
  const least = (selector, property) => Math.min(...[...document.querySelectorAll(selector)].map(
    node => ratio(getComputedStyle(node)[property], behind(node))));
  return {
    text: least('h1, h2, p, dt, dd, th, td, caption, summary', 'color'),
    labels: least('svg text', 'fill'),
    lines: least('svg polyline', 'stroke'),
    bars: least('svg rect', 'fill'),
    ground: light(behind(document.body)),
  };
})()
"""
TEXTS = """
(() => {
  const box = node => {
    const {left, top, right, bottom} = node.getBoundingClientRect();
    return {left, top, right, bottom};
  };
  return [...document.querySelectorAll('svg[id]')].map(svg => ({
    id: svg.id,
    frame: box(svg),
    texts: [...svg.querySelectorAll('text')].map(text => ({said: text.textContent, ...box(text)})),
  }));
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def show(browser: Chromium, tmp_path: Path):
    """Writes a report to a file and opens it; gives the browser."""

    def open_report(shown: FleetReport, **options: Any) -> Chromium:
        browser.requests.clear()
        browser.problems.clear()
        file = tmp_path / "fleet.html"
        file.write_text(page(shown))
        browser.show(file, **options)
        assert browser.requests == [file.as_uri()]
        assert browser.problems == []
        return browser

    return open_report


def each(browser: Chromium, selector: str, value: str) -> list[Any]:
    """A value of each element that a selector finds; `node` is the element."""
    return browser.evaluate(f"[...document.querySelectorAll('{selector}')].map(node => {value})")


def count(browser: Chromium, selector: str) -> int:
    return browser.evaluate(f"document.querySelectorAll('{selector}').length")


def overlaps(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes share more than a pixel."""
    return (
        min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 1
    )


def texts_are_readable(browser: Chromium) -> None:
    """No text of a plot lies outside of it or over another."""
    for plot in browser.evaluate(TEXTS):
        frame, texts = plot["frame"], plot["texts"]
        assert texts
        for number, text in enumerate(texts):
            assert frame["left"] <= text["left"] <= text["right"] <= frame["right"], (plot["id"], text)
            assert frame["top"] <= text["top"] <= text["bottom"] <= frame["bottom"], (plot["id"], text)
            clashes = [other["said"] for other in texts[:number] if overlaps(text, other)]
            assert clashes == [], (plot["id"], text["said"])


@pytest.mark.parametrize("dark", [False, True])
def test_the_plots_are_drawn_from_disk_without_a_network(show, dark: bool) -> None:
    browser = show(report(14, 60), dark=dark)
    assert each(browser, "svg[id]", "node.id") == PLOTS
    for width, height in each(browser, "svg[id]", "(box => [box.width, box.height])(node.getBoundingClientRect())"):
        assert width > 700
        assert height > 200
    assert each(browser, "#cycles polyline", "node.points.length") == [2, 60, 60]
    assert count(browser, "#burn circle") == 60
    assert count(browser, "#runway rect") == 14
    assert count(browser, "svg.spark polyline") == 14
    texts_are_readable(browser)
    contrast = browser.evaluate(CONTRAST)
    assert (contrast["ground"] < 0.05) == dark
    assert min(contrast["text"], contrast["labels"]) >= 4.5
    assert min(contrast["lines"], contrast["bars"]) >= 3
    assert len(browser.screenshot()) > 20_000


def test_a_higher_value_is_drawn_higher_and_a_longer_runway_longer(show) -> None:
    browser = show(report(3, 20))
    places = each(browser, "#cycles circle.battery", "node.cy.baseVal.value")
    assert places == sorted(places)
    assert places[0] < places[-1]
    widths = each(browser, "#runway rect", "node.width.baseVal.value")
    assert widths == sorted(widths)


def test_who_does_not_see_the_plots_is_told_what_they_show(show) -> None:
    shown = report(5, 12)
    browser = show(shown)
    told = browser.accessible()
    images = [name for role, name in told if role == "image"]
    assert len(images) == len(PLOTS) + len(shown.zones)
    for name, said in (
        ("Cycles over time", "The battery: 80 T on"),
        ("Burn a day", "What all zones burn a day:"),
        ("Runway of the zones", "of 5 zones have less than 7"),
        *((f"Cycles of {zone['canister']}", " on 2026-05-28 20:26") for zone in shown.zones),
    ):
        assert [image for image in images if name in image and said in image] != []
    headings = [name for role, name in told if role == "heading"]
    assert headings[1:] == ["Alerts", "Cycles", "Burn", "Runway", "Zones"]
    assert browser.evaluate("document.documentElement.lang") == "en"
    assert all(each(browser, "table", "Boolean(node.caption && node.tHead)"))
    assert all(each(browser, ".wide", "node.tabIndex === 0 && Boolean(node.ariaLabel)"))
    assert each(browser, "details table", "node.tBodies[0].rows.length") == [12, 12]


def test_a_phone_scrolls_plots_and_tables_but_not_the_page(show) -> None:
    browser = show(report(14, 60), width=PHONE, height=800)
    assert browser.evaluate("document.scrollingElement.scrollWidth") <= PHONE
    assert browser.evaluate("document.querySelector('#cycles').parentElement.scrollWidth") > PHONE
    texts_are_readable(browser)


def test_what_canisters_say_is_text_and_nothing_is_fetched_for_it(show) -> None:
    evil = '<img src="https://example.com/x.png" onerror="document.title=1"><script>document.title=2</script>&amp;'
    alert = {"kind": "foreign_code", "canister": None, "raised_at": "2026-05-28T20:26:40Z", "details": evil}
    shown = report(2, 3, alerts=[alert])
    shown.zones[0]["zone_id"] = evil
    shown.zones[1]["code"] = evil
    browser = show(shown)
    assert count(browser, "img, script, link, iframe, object") == 0
    assert browser.evaluate("document.title") == f"Fleet of {shown.figures['factory']}"
    assert each(browser, "td", "node.textContent").count(evil) == 2


@pytest.mark.parametrize(("zones", "readings"), [(0, 0), (1, 0), (1, 1), (3, 2), (150, 111)])
def test_a_fleet_of_any_size_is_shown(show, zones: int, readings: int) -> None:
    browser = show(report(zones, readings))
    assert each(browser, "svg[id]", "node.id") == PLOTS[: 2 * bool(readings)] + PLOTS[2:] * bool(zones)
    texts_are_readable(browser)
    assert count(browser, "#runway rect") == min(zones, MOST_BARS)
    assert count(browser, "[aria-labelledby=section-zones] tbody tr") == zones


def test_the_shortest_runways_come_first_and_low_ones_are_marked_by_more_than_colour(show) -> None:
    shown = report(60, 4)
    for number, zone in enumerate(shown.zones):
        zone["runway_days"] = number * 37 % 60
    browser = show(shown)
    said = each(browser, "#runway rect title", "node.textContent")
    assert [text.split(": ")[1].split(",")[0] for text in said] == [f"{days} d" for days in range(MOST_BARS)]
    assert count(browser, "#runway rect.low") == 7
    assert sum(text.startswith("▲") for text in each(browser, "#runway text", "node.textContent")) == 7
    (description,) = each(browser, "#runway-description", "node.textContent")
    assert "7 of 60 zones have less than 7" in description


def test_the_labels_of_lines_that_meet_lie_beside_each_other(show) -> None:
    shown = report(2, 5)
    for reading in shown.history:
        reading["battery"] = reading["fleet"] = shown.figures["reserve"]
    texts_are_readable(show(shown))


def test_readings_far_apart_lie_far_apart(show) -> None:
    shown = report(1, 3)
    for reading, age in zip(shown.history, (100 * DAY, DAY, 0), strict=True):
        reading["time"] = NOW - age
    first, second, third = each(show(shown), "#burn circle", "node.cx.baseVal.value")
    assert (second - first) / (third - second) == pytest.approx(99, rel=0.05)


def test_without_a_browser_the_tests_fail_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.VARIABLE, "/nowhere/chromium")
    with pytest.raises(pytest.fail.Exception, match=r"install_system_packages\.sh browser"):
        chromium.executable()

import json
import re
from contextlib import contextmanager

from playwright.sync_api import expect

from tensorhost.settings import Settings


def send(server, sample, count=12):
    for _ in range(count):
        server.predict("digits", [sample("digits", "3")])
    server.refuse("wine", [[1, 2]])


@contextmanager
def samples(server):
    """The samples of the server as they are made."""
    connection = server.connect()
    try:
        connection.request("GET", "/dashboard/events")
        lines = connection.getresponse()
        yield (json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b'data: {"sequence"'))
    finally:
        connection.close()


def test_figures_and_charts_follow_the_traffic(visitor, server, sample):
    visitor.open()
    before = int(visitor.successes().inner_text().split(" ")[0].replace(",", ""))
    send(server, sample)
    expect(visitor.tile("rate")).to_have_text(re.compile(r"^(?!0/s).*/s$"))
    expect(visitor.tile("p99")).to_have_text(re.compile("s$"))
    expect(visitor.tile("errors")).to_have_text(re.compile("%$"))
    visitor.page.wait_for_function(
        "(least) => +document.body.innerText.match(/([\\d,]+) successful requests in/)[1].replace(',', '') >= least",
        arg=before + 12,
    )
    line = visitor.chart("Request rate").locator("path.line")
    assert line.get_attribute("d").startswith("M")
    expect(visitor.chart("Latency by stage").locator(".legend li")).to_have_count(4)
    expect(visitor.chart("Errors by code").locator(".legend")).to_contain_text("INVALID_INPUT_SHAPE")
    expect(visitor.page.get_by_role("list", name="Batch sizes").get_by_role("listitem").first).to_be_visible()
    expect(visitor.page.get_by_role("list", name="Memory by version")).to_contain_text("digits 2")


def test_a_page_opened_later_shows_what_happened_before(visitor, server, sample):
    with samples(server) as made:
        send(server, sample, count=5)
        counted = 0
        while counted < 6:
            counted += sum(version["requests"] for version in next(made)["versions"])
    visitor.open()
    expect(visitor.successes()).to_have_text(re.compile("^[1-9]"))
    expect(visitor.tile("p50")).to_have_text(re.compile("s$"))


def test_a_model_a_version_and_a_range_can_be_chosen(visitor, server, sample):
    send(server, sample, count=1)
    server.predict("digits", [sample("digits", "7")], modelVersion="baseline")
    page = visitor.open()
    visitor.field("Model").select_option("digits")
    visitor.field("Version").select_option("1")
    expect(page).to_have_url(re.compile("model=digits&version=1"))
    visitor.choose("1 hour", "Range of time")
    expect(page).to_have_url(re.compile("range=1h"))
    expect(visitor.successes()).to_be_visible()
    page.reload()
    visitor.expect_live()
    expect(visitor.field("Version")).to_have_value("1")


def test_where_nothing_happened_the_charts_say_so(visitor):
    visitor.open("overview?model=nobody")
    expect(visitor.field("Model")).to_have_value("nobody")
    expect(visitor.chart("Errors by code")).to_contain_text("no errors in this range")
    expect(visitor.chart("Latency").locator(".empty")).to_have_text("no successful requests in this range")
    expect(visitor.tile("p50")).to_have_text("–")


def test_one_quantile_of_the_stages_can_be_chosen(visitor, server, sample):
    send(server, sample, count=2)
    page = visitor.open()
    chart = visitor.chart("Latency by stage")
    visitor.choose("p99", "Measure")
    visitor.choose("Linear", "Axis")
    expect(chart.locator(".axis text").first).to_have_text("0 ms")
    visitor.choose("Log", "Axis")
    expect(chart.locator(".axis text").first).not_to_have_text("0 ms")
    expect(chart.get_by_role("radio", name="p99")).to_be_checked()
    rows = page.get_by_role("row")
    assert [row.get_by_role("rowheader").inner_text() for row in rows.all()[1:]] == [
        "total",
        "queue",
        "preprocessing",
        "inference",
        "postprocessing",
    ]


def test_values_are_read_out_by_pointer_and_by_keyboard(visitor, server, sample):
    send(server, sample, count=3)
    page = visitor.open()
    chart = visitor.chart("Request rate")
    plot = chart.get_by_role("slider")
    expect(plot).to_have_attribute("aria-valuetext", re.compile(r"requests .*/s"))
    page.wait_for_function("document.querySelector('[role=slider]').ariaValueMax >= 3")
    plot.focus()
    page.keyboard.press("ArrowLeft")
    first = plot.get_attribute("aria-valuenow")
    page.keyboard.press("ArrowLeft")
    assert int(plot.get_attribute("aria-valuenow")) < int(first)
    moment = chart.locator(".chart-time")
    expect(moment).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    # The same moment is marked in every chart.
    expect(visitor.chart("In flight and queued").locator(".chart-time")).to_have_text(moment.inner_text())
    page.keyboard.press("Escape")
    expect(moment).to_have_text("")
    plot.hover()
    expect(moment).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))


def test_every_chart_says_in_words_what_it_shows(visitor):
    page = visitor.open()
    for title in ("Request rate", "Latency", "Latency by stage", "In flight and queued", "Memory of the process"):
        plot = visitor.chart(title).get_by_role("slider")
        summary = page.locator(f"#{plot.get_attribute('aria-describedby')}")
        expect(summary).to_have_text(re.compile(r"From \d\d:\d\d:\d\d to \d\d:\d\d:\d\d\. "))


def test_the_page_of_the_api_is_a_link_away(visitor):
    page = visitor.open()
    visitor.go("API")
    expect(page).to_have_url(f"{visitor.url}/docs")


def test_only_browsers_get_the_page(server):
    assert server.get("/", Accept="*/*").headers["content-type"] == "application/json"
    page = server.get("/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.headers["content-type"].startswith("text/html")
    assert Settings().dashboard

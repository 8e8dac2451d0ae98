"""The page for everybody: by keyboard, on a phone, in both themes, read by a screen reader."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

VIEWS = ["overview", "models", "try/digits", "try/langid", "try/wine", "errors"]
PHONE = {"width": 360, "height": 740}

OUTSIDE = """
() => [...document.querySelectorAll("main *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 100))
"""
REACHABLE = """
() => {
  const radios = new Set();
  const fields = "a[href], button, select, input, textarea, summary, [role=slider], [role=application]";
  return [...document.querySelectorAll(`${fields}, pre, [role=region].table-box`)]
    .filter((one) => !one.disabled && one.checkVisibility({ visibilityProperty: true }))
    .filter((one) => {
      if (one.type !== "radio") return true;
      const first = !radios.has(one.name);
      radios.add(one.name);
      return first;
    }).length;
}
"""
FOCUSED = """
() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  if (!window.seen.has(one)) window.seen.set(one, window.seen.size);
  const ringed = [one, one.nextElementSibling, one.closest("label")].some(
    (place) => place && getComputedStyle(place).outlineStyle !== "none");
  return { number: window.seen.get(one), name: one.outerHTML.slice(0, 120), ringed };
}
"""


def press_tab(page):
    page.keyboard.press("Tab")
    return page.evaluate(FOCUSED)


def filled(visitor, server, view):
    server.refuse("wine", [[1, 2]])
    page = visitor.open(view)
    if view.startswith("try"):
        visitor.predict()
    elif view == "models":
        page.get_by_text("Signatures, runtime, findings").first.click()
    elif view == "errors":
        expect(page.get_by_role("row")).not_to_have_count(0)
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_needs_no_sideways_scrolling(visit, server, view):
    visitor = visit(server, viewport=PHONE, has_touch=True, is_mobile=True)
    page = filled(visitor, server, view)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("view", VIEWS)
def test_everything_is_reached_by_keyboard_and_shows_that_it_is(visitor, server, view):
    page = filled(visitor, server, view)
    stops = []
    for _ in range(2):
        # From wherever one is to the end of the page, and then once through it.
        page.evaluate("window.seen = new Map()")
        stops.clear()
        while stop := press_tab(page):
            stops.append(stop)
    assert len({stop["number"] for stop in stops}) == len(stops)
    assert [stop["name"] for stop in stops if not stop["ringed"]] == []
    assert len(stops) == page.evaluate(REACHABLE)


def test_the_page_is_walked_by_keyboard_alone(visitor):
    page = visitor.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.textContent") == "Models":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Models")).to_be_focused()
    expect(page).to_have_title("Models – tensorhost")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["overview", "models", "try/digits", "errors"])
def test_axe_finds_nothing(visit, server, view, scheme):
    visitor = visit(server, color_scheme=scheme)
    page = filled(visitor, server, view)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == []


def test_axe_finds_nothing_in_a_dialog(visitor):
    page = visitor.open("models")
    page.get_by_role("button", name="Labels of digits").click()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == []


def test_the_theme_follows_the_system_until_it_is_switched_and_is_kept(visit, server):
    visitor = visit(server, color_scheme="dark")
    page = visitor.open()
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Switch to light colours").click()
    light = page.evaluate(colour)
    assert light != dark
    page.reload()
    visitor.expect_live()
    assert page.evaluate(colour) == light
    page.get_by_role("button", name="Switch to dark colours").click()
    assert page.evaluate(colour) == dark
    assert page.evaluate("localStorage.length") == 0
    page.emulate_media(color_scheme="light")
    assert page.evaluate(colour) == light


def test_less_motion_means_none(visit, server):
    visitor = visit(server, reduced_motion="reduce")
    page = visitor.open("try/wine")
    visitor.predict()
    assert page.evaluate("getComputedStyle(document.querySelector('.bar-fill')).transitionDuration") == "0s"

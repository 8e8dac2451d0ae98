import re

import pytest
from playwright.sync_api import expect
from tests.integration.native_server import RunningServer

TOKEN = "correct horse battery staple"


@pytest.fixture
def controlled(broken):
    with RunningServer(broken, "--host", "0.0.0.0", TENSORHOST_ADMIN_TOKEN=TOKEN) as running:
        running.wait_for("ready")
        yield running


@pytest.fixture
def read_only(broken):
    with RunningServer(broken, "--host", "0.0.0.0") as running:
        running.wait_for("ready")
        yield running


def test_every_version_is_shown_with_what_it_takes_and_how_it_runs(visitor, server, sample):
    server.predict("digits", [sample("digits", "3")])
    visitor.open("models")
    version = visitor.version("digits", "2")
    expect(version.locator(".state")).to_have_text("AVAILABLE")
    expect(version.locator(".chip")).to_have_text(["stable"])
    for figure in ("Format", "Runtime", "Memory", "Load", "Warm-up", "Last used"):
        expect(version.locator(".version-figures")).to_contain_text(figure)
    expect(version.locator(".version-figures")).to_contain_text(re.compile("just now|ago"))
    details = version.get_by_text("Signatures, runtime, findings")
    details.click()
    expect(version).to_contain_text("image: float32 [?, 8, 8, 1]")
    expect(version).to_contain_text("up to 32 rows")
    # What is unfolded stays so while news comes in.
    server.predict("digits", [sample("digits", "4")])
    expect(version).to_contain_text("90,634")


def test_a_version_is_unloaded_and_loaded_again(visitor, server):
    page = visitor.open("models")
    version = visitor.version("digits", "1")
    version.get_by_role("button", name="Unload digits version 1").click()
    dialog = page.get_by_role("dialog", name="Unload digits version 1?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(version.locator(".state")).to_have_text("AVAILABLE")
    version.get_by_role("button", name="Unload digits version 1").click()
    dialog.get_by_role("button", name="Unload").click()
    expect(version.locator(".state")).to_have_text("END")
    expect(page.locator("#announcements")).to_have_text("digits 1 is unloaded.")
    assert server.refuse("digits", [[[[0]] * 8] * 8], modelVersion="1")["code"] == "MODEL_NOT_READY"
    version.get_by_role("button", name="Load digits version 1").click()
    expect(version.locator(".state")).to_have_text("AVAILABLE")
    expect(page.locator("#announcements")).to_have_text("digits 1 is loaded.")
    assert server.predict("digits", [[[[0]] * 8] * 8], modelVersion="1")["modelVersion"] == "1"


def test_a_label_is_moved_and_moved_back(visitor, server, sample):
    page = visitor.open("models")

    def move(version):
        page.get_by_role("button", name="Labels of digits").click()
        dialog = page.get_by_role("dialog", name="Labels of digits")
        dialog.get_by_label("Label").fill("stable")
        dialog.get_by_label("Points to").select_option(version)
        dialog.get_by_role("button", name="Move label").click()
        expect(dialog).to_be_hidden()
        expect(visitor.version("digits", version).locator(".chip", has_text="stable")).to_be_visible()

    try:
        move("1")
        assert server.predict("digits", [sample("digits", "3")], modelVersion="stable")["modelVersion"] == "1"
    finally:
        move("2")
    assert server.predict("digits", [sample("digits", "3")], modelVersion="stable")["modelVersion"] == "2"


def test_a_label_that_cannot_be_is_refused_in_the_dialog(visitor):
    visitor.tolerate("400")
    page = visitor.open("models")
    page.get_by_role("button", name="Labels of digits").click()
    dialog = page.get_by_role("dialog", name="Labels of digits")
    dialog.get_by_label("Label").fill("2")
    dialog.get_by_label("Points to").select_option("1")
    dialog.get_by_role("button", name="Move label").click()
    expect(dialog.get_by_role("alert")).to_have_text(re.compile("."))
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Labels of digits")).to_be_focused()


def test_what_failed_says_why(controlled, visit):
    visitor = visit(controlled)
    visitor.open("models")
    expect(visitor.version("broken", "1").locator(".problem").first).to_have_text(re.compile(r"^[A-Z_]+: .+"))


def test_the_token_is_asked_for_and_a_wrong_one_is_said_to_be(controlled, visit):
    visitor = visit(controlled)
    visitor.tolerate("401|503")
    page = visitor.open("models")
    expect(page.locator(".rights .notice")).to_contain_text("Changes need the admin token.")
    load = visitor.version("broken", "1").get_by_role("button")
    load.click()
    dialog = page.get_by_role("dialog", name="Admin token")
    expect(dialog.get_by_role("textbox", name="Token")).to_be_focused()
    dialog.get_by_role("textbox", name="Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The admin token is wrong.")
    dialog.get_by_role("textbox", name="Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    # The call is made at once; what it runs into is said where it was asked for.
    expect(visitor.version("broken", "1").get_by_role("alert")).to_have_text(re.compile(r"^[A-Z_]+: .*\(request \w+\)"))
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
    page.get_by_role("button", name="Forget the admin token").click()
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.locator(".rights .notice")).to_be_visible()


def test_a_token_can_be_entered_before_it_is_needed(controlled, visit):
    visitor = visit(controlled)
    visitor.tolerate("503")
    page = visitor.open("models")
    page.get_by_role("button", name="Enter the admin token").click()
    page.get_by_role("textbox", name="Token").fill(TOKEN)
    page.get_by_role("button", name="Use token").click()
    expect(page.locator(".rights .notice")).to_be_hidden()
    visitor.version("broken", "1").get_by_role("button").click()
    expect(visitor.version("broken", "1").get_by_role("alert")).to_have_text(re.compile(r"^[A-Z_]+: "))


def test_a_server_without_token_that_others_reach_is_read_only(read_only, visit):
    visitor = visit(read_only)
    page = visitor.open("models")
    expect(page.locator(".rights .notice")).to_contain_text("TENSORHOST_ADMIN_TOKEN")
    expect(visitor.version("broken", "1").get_by_role("button")).to_be_disabled()
    expect(page.get_by_role("button", name="Labels of broken")).to_be_disabled()


def test_names_and_texts_of_others_are_text(visitor):
    page = visitor.open("models")
    expect(page.locator('[data-model="hostile"] .description')).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.get_by_text("no model <b>here<b>")).to_be_visible()
    expect(page.locator("img:visible")).to_have_count(0)

import base64
import io
import json
import math
import subprocess
import sys

import pytest
from PIL import Image
from playwright.sync_api import expect
from visitor import best

WINE = [13.87, 1.9, 2.8, 19.4, 107.0, 2.95, 2.97, 0.37, 1.76, 4.5, 1.25, 3.4, 915.0]
PASTE = """
(text) => {
  const data = new DataTransfer();
  data.setData("text", text);
  const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.querySelector(".numbers input").dispatchEvent(event);
}
"""
DROP = """
([target, text, kind]) => {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "digit.png", { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  document.querySelector(target).dispatchEvent(
    kind === "drop"
      ? new DragEvent("drop", { dataTransfer: data, ...options })
      : new ClipboardEvent("paste", { clipboardData: data, ...options }));
}
"""


@pytest.fixture
def picture(sample):
    """The bytes of an image of a digit, light ink on dark paper as the model has it, or the other way round."""

    def draw(label, *, inverted=False):
        pixels = [[value[0] * 255 // 16 for value in row] for row in sample("digits", label)]
        image = Image.new("L", (8, 8))
        image.putdata([255 - value if inverted else value for row in pixels for value in row])
        file = io.BytesIO()
        image.resize((64, 64), Image.Resampling.BOX).save(file, "PNG")
        return file.getvalue()

    return draw


def draw(page, points):
    """Draw a line on the pad; points lie in a square of 1 by 1."""
    box = page.locator("canvas.pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def test_a_digit_is_drawn_and_recognised(visitor):
    page = visitor.open("try/digits")
    page.get_by_role("button", name="Clear").click()
    turn = [step * math.pi / 12 for step in range(25)]
    draw(page, [(0.5 + 0.22 * math.sin(angle), 0.5 - 0.38 * math.cos(angle)) for angle in turn])
    answer = visitor.predict()
    expect(best(answer)).to_have_text("0")
    expect(answer.locator(".times .bar")).to_have_count(4)
    expect(answer).to_contain_text("Request id")
    expect(answer.get_by_text("digits version 2")).to_be_visible()


def test_every_example_on_the_pad_is_recognised(visitor):
    page = visitor.open("try/digits")
    for label in ("3", "0", "7", "2", "4", "3"):
        expect(best(visitor.predict())).to_have_text(label)
        page.get_by_role("button", name="Example").click()


def test_the_pad_is_drawn_on_by_keyboard(visitor):
    page = visitor.open("try/digits")
    page.get_by_role("button", name="Clear").click()
    page.locator("canvas.pad").focus()
    for key in ["ArrowRight"] * 4 + [" ", *["ArrowDown", " "] * 7]:
        page.keyboard.press(key)
    expect(page.locator("#announcements")).to_have_text("Row 8, column 5: 100 % ink.")
    expect(best(visitor.predict())).to_have_text("1")
    page.locator("canvas.pad").press("Backspace")
    page.get_by_role("button", name="curl").click()
    assert "[[[[0], [0]" in visitor.clipboard().replace("],[", "], [")


def test_an_image_is_uploaded(visitor, picture):
    page = visitor.open("try/digits")
    visitor.choose("Image", "How to enter image")
    page.locator("input[type=file]").set_input_files({"name": "3.png", "mimeType": "image/png", "buffer": picture("3")})
    expect(page.get_by_text("3.png")).to_be_visible()
    expect(best(visitor.predict())).to_have_text("3")


def test_dark_ink_on_light_paper_is_inverted(visitor, picture):
    page = visitor.open("try/digits")
    visitor.choose("Image", "How to enter image")
    file = {"name": "7.png", "mimeType": "image/png", "buffer": picture("7", inverted=True)}
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_label("Invert").check()
    expect(best(visitor.predict())).to_have_text("7")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_or_pasted(visitor, picture, kind):
    page = visitor.open("try/digits")
    target = ".input" if kind == "drop" else "body"
    page.evaluate(DROP, [target, base64.b64encode(picture("4")).decode(), kind])
    expect(page.get_by_role("radio", name="Image")).to_be_checked()
    expect(best(visitor.predict())).to_have_text("4")


def test_what_is_no_image_is_refused_with_the_reason(visitor):
    visitor.tolerate("400")
    page = visitor.open("try/digits")
    visitor.choose("Image", "How to enter image")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".input .problem")).to_have_text("Choose an image first.")
    page.locator("input[type=file]").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(visitor.predict().locator(".error-head")).to_contain_text("HTTP 400")


def test_a_text_is_given_a_language(visitor):
    page = visitor.open("try/langid")
    page.get_by_role("textbox", name="text", exact=True).fill("Beberapa kunci hilang")
    page.keyboard.press("Control+Enter")
    answer = page.get_by_label("Answer", exact=True)
    expect(best(answer)).to_have_text("id")
    expect(answer.get_by_role("heading")).to_have_text(["Answer", "confidence", "language", "probabilities", "Time"])


def test_numbers_are_entered_and_pasted(visitor):
    page = visitor.open("try/wine")
    fields = page.locator(".numbers input")
    expect(fields).to_have_count(13)
    page.evaluate(PASTE, "\t".join(map(str, WINE)))
    expect(fields.last).to_have_value("915.0")
    expect(best(visitor.predict())).to_have_text("class_0")
    fields.nth(3).fill("many")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".input .problem")).to_have_text("'many' is not a number.")
    expect(fields.nth(3)).to_be_focused()
    fields.nth(3).fill("19.4")
    expect(best(visitor.predict())).to_have_text("class_0")


def test_json_is_entered_and_checked(visitor):
    page = visitor.open("try/wine")
    visitor.choose("JSON", "How to enter features")
    page.get_by_label("features as JSON").fill("[[1, 2")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".input .problem")).to_contain_text("'features' is not JSON")
    page.get_by_label("features as JSON").fill(json.dumps([WINE, WINE]))
    answer = visitor.predict()
    expect(answer.locator(".strong .bar-label")).to_have_text(["class_0", "class_0"])
    answer.get_by_text("Answer as JSON").click()
    expect(answer.locator("pre")).to_contain_text('"modelName": "wine"')


def test_options_are_sent(visitor):
    page = visitor.open("try/wine")
    page.get_by_text("Options", exact=True).click()
    expect(page.get_by_text('The model\'s own: postprocessing {"topK":3}')).to_be_visible()
    visitor.field("Postprocessing").fill('{"topK": 1}')
    expect(visitor.predict().locator(".result > .bars-box .bar")).to_have_count(1)
    visitor.field("Postprocessing").fill("[1]")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("form > .problem")).to_contain_text("must be an object")
    visitor.field("Postprocessing").fill("")
    visitor.field("Timeout in ms").fill("-1")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("form > .problem")).to_contain_text("above 0")


def test_an_error_is_shown_with_code_message_and_request_id(visitor, server):
    visitor.tolerate("400")
    page = visitor.open("try/wine")
    visitor.choose("JSON", "How to enter features")
    page.get_by_label("features as JSON").fill("[[1, 2]]")
    answer = visitor.predict()
    expect(answer.locator(".error-head")).to_have_text("INVALID_INPUT_SHAPE HTTP 400")
    expect(answer.locator(".problem")).to_have_text("Input 'features' has shape [1, 2], expected [?, 13].")
    request_id = answer.locator(".request-id code").inner_text()
    assert request_id in {record.get("request_id") for record in server.records}


def test_a_version_is_chosen_by_label(visitor):
    page = visitor.open("try/digits")
    visitor.field("Version").select_option("baseline")
    expect(visitor.predict().get_by_text("digits version 1")).to_be_visible()
    visitor.field("Model").select_option("wine")
    expect(page.locator(".numbers input")).to_have_count(13)
    # What was answered to one form does not stand beside another.
    expect(page.get_by_text("The answer will be here.")).to_be_visible()


def test_a_model_that_is_not_there_is_said_to_be_missing(visitor):
    page = visitor.open("try/nothing")
    expect(page.get_by_text("There is no model 'nothing'.")).to_be_visible()
    expect(page.get_by_role("button", name="Predict")).to_be_disabled()


def test_a_model_that_its_first_request_loads_is_asked_as_json_and_then_by_its_form(visitor):
    page = visitor.open("try/lazy")
    expect(page.get_by_text("the first request loads it")).to_be_visible()
    page.get_by_label("inputs as JSON").fill(json.dumps([[[[0]] * 8] * 8]))
    answer = visitor.predict()
    expect(answer.get_by_text("lazy version 1")).to_be_visible()
    expect(page.locator("canvas.pad")).to_be_visible()
    # The answer stays while the form becomes another.
    expect(answer.get_by_text("lazy version 1")).to_be_visible()


def test_what_was_entered_survives_a_reload_of_the_model(visitor, server):
    page = visitor.open("try/digits?version=1")
    visitor.choose("JSON", "How to enter image")
    page.get_by_label("image as JSON").fill("[[1]]")
    try:
        server.request("POST", "/models/digits/unload", {"version": "1"})
        expect(page.get_by_text("it answers nothing")).to_be_visible()
        expect(page.get_by_role("button", name="Predict")).to_be_disabled()
    finally:
        server.request("POST", "/models/digits/load", {"version": "1"})
    expect(page.get_by_label("image as JSON")).to_have_value("[[1]]")
    expect(page.get_by_role("button", name="Predict")).to_be_enabled()


def test_the_request_is_copied_as_commands_that_work(visitor):
    page = visitor.open("try/langid?version=1")
    # Quotes, a backslash, an emoji, and what a shell would run.
    text = 'l\'été \\ "là" $(reboot) `id` 🌻 où est la gare'
    page.get_by_role("textbox", name="text", exact=True).fill(text)
    page.get_by_text("Options", exact=True).click()
    visitor.field("Postprocessing").fill('{"topK": 1, "softmax": null}')
    page.get_by_role("button", name="curl", exact=True).click()
    expect(page.locator(".side").get_by_text("Copied as curl.")).to_be_visible()
    curl = subprocess.run(["/bin/sh", "-c", visitor.clipboard()], capture_output=True, check=True, text=True)
    assert json.loads(curl.stdout)["predictions"]["language"] == ["fr"]
    page.get_by_role("button", name="Python", exact=True).click()
    expect(page.locator(".side").get_by_text("Copied as Python.")).to_be_visible()
    snippet = visitor.clipboard()
    compile(snippet, "snippet", "exec")
    python = subprocess.run([sys.executable, "-c", snippet], capture_output=True, check=True, text=True)
    assert "'language': array(['fr']" in python.stdout
    assert repr(text) in snippet or json.dumps(text, ensure_ascii=False) in snippet
    page.get_by_role("button", name="TensorFlow Serving REST").click()
    expect(page.locator(".side").get_by_text("Copied as TensorFlow Serving REST.")).to_be_visible()
    rest = subprocess.run(["/bin/sh", "-c", visitor.clipboard()], capture_output=True, check=True, text=True)
    [row] = json.loads(rest.stdout)["predictions"]
    assert row["language"] == "fr"


def test_labels_of_others_are_text_in_answers(visitor):
    page = visitor.open("try/hostile")
    answer = visitor.predict()
    expect(best(answer)).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("img:visible")).to_have_count(0)

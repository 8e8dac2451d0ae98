import json

from playwright.sync_api import expect


def test_an_error_appears_with_its_id_and_can_be_copied(visitor, server):
    page = visitor.open("errors")
    request_id = server.refuse("wine", [[1, 2]])["requestId"]
    row = page.get_by_role("row").filter(has_text=request_id)
    expect(row).to_contain_text("INVALID_INPUT_SHAPE 400")
    expect(row).to_contain_text("Input 'features' has shape [1, 2], expected [?, 13].")
    expect(row).to_contain_text("wine")
    row.get_by_role("button").click()
    expect(row.get_by_role("button")).to_have_text("Copied")
    assert visitor.clipboard() == request_id
    expect(page.locator("#error-count")).to_be_visible()


def test_errors_are_filtered_by_code_and_model(visitor, server):
    wine = server.refuse("wine", [[1, 2]])["requestId"]
    langid = server.refuse("langid", [3])["requestId"]
    page = visitor.open("errors")
    expect(page.get_by_role("row").filter(has_text=langid)).to_be_visible()
    visitor.field("Model").select_option("wine")
    expect(page.get_by_role("row").filter(has_text=wine)).to_be_visible()
    expect(page.get_by_role("row").filter(has_text=langid)).to_have_count(0)
    visitor.field("Model").select_option("")
    visitor.field("Code").select_option("INVALID_INPUT_TYPE")
    expect(page.get_by_role("row").filter(has_text=langid)).to_be_visible()
    expect(page.get_by_role("row").filter(has_text=wine)).to_have_count(0)


def test_what_clients_sent_is_text(visitor, server):
    name = "<b onmouseover=alert(1)>x</b>"
    error = server.refuse(name, [1], preprocessing={"<script>alert(2)</script>": 1})
    page = visitor.open("errors")
    row = page.get_by_role("row").filter(has_text=error["requestId"])
    expect(row).to_be_visible()
    assert page.locator("main b, main script").count() == 0


def test_an_error_of_another_route_is_shown(visitor, server):
    page = visitor.open("errors")
    answer = server.request("POST", "/models/none/load", json.dumps({}).encode())
    row = page.get_by_role("row").filter(has_text=answer.error["requestId"])
    expect(row).to_contain_text("POST /models/none/load")

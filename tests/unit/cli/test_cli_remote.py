"""The commands that talk to a running server, against a real HTTP server that answers what the test says."""

from __future__ import annotations

import contextlib
import json
import socket

import numpy as np
import pytest
from typer.testing import CliRunner

from tensorhost.cli import app

MODEL = {
    "name": "digits",
    "version": "2",
    "state": "AVAILABLE",
    "runtime": "tensorflow",
    "inputs": [{"name": "image", "dtype": "float32", "shape": [None, 8, 8]}],
    "outputs": [{"name": "scores", "dtype": "float32", "shape": [None, 10]}],
    "memoryBytes": 1_572_864,
    "loadedAt": "2026-01-01T00:00:00Z",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.delenv("TENSORHOST_ADMIN_TOKEN", raising=False)


def run(*args, stdin=None):
    return CliRunner().invoke(app, list(args), input=stdin)


def predict(stub, *args, stdin=None):
    result = run("predict", "m", *args, "--url", stub.url, stdin=stdin)
    return result, (stub.asked[0].body["inputs"] if stub.asked else None)


class TestModels:
    def test_list_is_a_table(self, stub):
        stub.answers({"models": [MODEL]})
        result = run("models", "list", "--url", stub.url)
        assert result.exit_code == 0
        row = (
            result.stdout.splitlines()[-1] if result.stdout.splitlines()[-1].strip() else result.stdout.splitlines()[-2]
        )
        for cell in ("digits", "2", "AVAILABLE", "tensorflow", "image float32 [?, 8, 8]", "1.5 MiB"):
            assert cell in row

    def test_list_json_is_what_the_server_said(self, stub):
        stub.answers({"models": [MODEL]})
        assert json.loads(run("models", "list", "--url", stub.url, "--json").stdout) == {"models": [MODEL]}

    def test_an_empty_list_says_so(self, stub):
        stub.answers({"models": []})
        assert run("models", "list", "--url", stub.url).stdout == "No model is loaded.\n"

    def test_a_hostile_name_cannot_steer_the_terminal(self, stub):
        stub.answers({"models": [MODEL | {"name": "\x1b[2J[red]x", "state": None, "inputs": "?", "memoryBytes": {}}]})
        result = run("models", "list", "--url", stub.url)
        assert "\x1b" not in result.stdout
        assert "?[2J[red]x" in result.stdout

    def test_load_sends_version_and_path(self, stub):
        result = run("models", "load", "m", "--version", "3", "--path", "/srv/m", "--url", stub.url)
        assert (result.exit_code, result.stdout) == (0, "Loaded m version 3.\n")
        assert (stub.asked[0].path, stub.asked[0].body) == ("/models/m/load", {"version": "3", "path": "/srv/m"})

    def test_label_says_where_the_label_points(self, stub):
        stub.answers({"allVersionLabels": {"stable": "2"}})
        assert run("models", "label", "m", "stable", "2", "--url", stub.url).stdout == "stable of m is 2.\n"
        stub.answers({"allVersionLabels": {}})
        result = run("models", "label", "m", "stable", "--url", stub.url)
        assert result.stdout == "stable of m is no label any more.\n"
        assert [asked.path for asked in stub.asked] == ["/models/m/labels"] * 2

    def test_unload_sends_the_token_of_the_environment(self, stub, monkeypatch):
        monkeypatch.setenv("TENSORHOST_ADMIN_TOKEN", "secret")
        stub.answers({"unloaded": ["1"]})
        result = run("models", "unload", "m", "--url", stub.url, "--json")
        assert json.loads(result.stdout) == {"unloaded": ["1"]}
        assert stub.asked[0].headers["authorization"] == "Bearer secret"
        assert stub.asked[0].path == "/models/m/unload"

    def test_a_name_that_is_none_is_wrong_usage(self, stub):
        assert run("models", "load", "../m", "--url", stub.url).exit_code == 2
        assert stub.asked == []


class TestExitCodes:
    def test_a_refusal_is_1_with_code_and_request(self, stub):
        stub.answers({"error": {"code": "PERMISSION_DENIED", "message": "No.\x1b[0m", "requestId": "r7"}}, 403)
        result = run("models", "load", "m", "--url", stub.url)
        assert result.exit_code == 1
        assert result.stderr == "Error: No.?[0m (PERMISSION_DENIED, request r7)\n"

    def test_nobody_there_is_3(self, closed_url):
        result = run("models", "list", "--url", closed_url)
        assert result.exit_code == 3
        assert result.stderr == f"Error: Nothing answers at {closed_url}; is the server running?\n"

    def test_a_url_that_is_none_is_2(self):
        assert run("models", "list", "--url", "localhost").exit_code == 2

    def test_a_port_that_is_none_is_2(self, monkeypatch):
        monkeypatch.setenv("PORT", "abc")
        assert run("models", "list").exit_code == 2

    def test_the_default_address_follows_port(self, stub, monkeypatch):
        stub.answers({"models": []})
        monkeypatch.setenv("PORT", stub.url.rpartition(":")[2])
        assert run("models", "list").exit_code == 0


BUSY = b'{"error": {"code": "OVERLOADED", "message": "The queue is full.", "requestId": "r1"}}'


class TestRetries:
    def test_what_passes_is_waited_for_and_said(self, stub, monkeypatch):
        said = []
        monkeypatch.setattr("tensorhost.cli.remote.spinner", lambda doing: contextlib.nullcontext(said.append))
        stub.before = [(503, BUSY, {})]
        stub.answers({"models": []})
        assert run("models", "list", "--url", stub.url).exit_code == 0
        assert len(stub.asked) == 2
        (sentence,) = said
        assert sentence.startswith("Asking the server… The queue is full. Trying again in 0.")
        assert sentence.endswith(" s (1 of 2).")

    def test_nobody_is_kept_waiting_for_long(self, stub):
        stub.before = [(503, BUSY, {"Retry-After": "6"})]
        result = run("models", "list", "--url", stub.url)
        assert (result.exit_code, len(stub.asked)) == (1, 1)
        assert result.stderr == "Error: The queue is full. (OVERLOADED, request r1)\n"

    def test_a_load_is_asked_for_once(self, stub):
        stub.before = [(503, BUSY, {})]
        assert run("models", "load", "m", "--url", stub.url).exit_code == 1
        assert len(stub.asked) == 1

    def test_time_that_is_up_is_3(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            result = run("predict", "m", "-i", "[1]", "--timeout-ms", "50", "--url", url)
        assert (result.exit_code, result.stderr) == (3, "Error: There was no answer within 50 ms.\n")


class TestPredict:
    def test_an_array_that_json_cannot_carry_is_wrong_usage(self, stub, tmp_path):
        np.save(tmp_path / "rows.npy", np.array([np.nan]))
        result, _ = predict(stub, "-i", str(tmp_path / "rows.npy"))
        assert (result.exit_code, stub.asked) == (2, [])
        assert "JSON cannot carry NaN" in result.stderr

    def test_json_text(self, stub):
        stub.answers({"predictions": [[0.5]], "modelVersion": "2", "inferenceTimeMs": 1.25})
        result, inputs = predict(stub, "--input", "[[1, 2]]")
        assert (result.exit_code, inputs) == (0, [[1, 2]])
        assert json.loads(result.stdout) == [[0.5]]
        assert result.stderr == "version 2, 1.25 ms\n"

    def test_json_output_is_the_whole_answer(self, stub):
        answer = {"predictions": [[0.5]], "modelVersion": "2", "inferenceTimeMs": 1.25}
        stub.answers(answer)
        result, _ = predict(stub, "--input", "[[1]]", "--json")
        assert json.loads(result.stdout) == answer
        assert result.stderr == ""

    def test_standard_input(self, stub):
        assert predict(stub, "-i", "-", stdin="[[3]]")[1] == [[3]]

    def test_a_json_file(self, stub, tmp_path):
        file = tmp_path / "rows.json"
        file.write_text("[[4]]")
        assert predict(stub, "-i", str(file))[1] == [[4]]

    def test_an_array_file(self, stub, tmp_path):
        file = tmp_path / "rows.npy"
        np.save(file, np.array([[5, 6]], np.int32))
        assert predict(stub, "-i", str(file))[1] == [[5, 6]]

    def test_an_image_file_is_one_row(self, stub, tmp_path):
        file = tmp_path / "cat.PNG"
        file.write_bytes(b"png")
        assert predict(stub, "-i", f"image={file}")[1] == {"image": [{"b64": "cG5n"}]}

    def test_several_inputs_by_name(self, stub):
        assert predict(stub, "-i", "a=[1]", "-i", 'b=["x=y"]')[1] == {"a": [1], "b": ["x=y"]}

    def test_a_file_with_an_equals_sign_is_a_file(self, stub, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a=b.json").write_text("[7]")
        assert predict(stub, "-i", "a=b.json")[1] == [7]

    def test_text_rows(self, stub):
        assert predict(stub, "--text", "-", "-t", "[1]")[1] == ["-", "[1]"]

    def test_options_are_passed_on(self, stub):
        predict(
            stub, "-t", "x", "--version", "stable", "--signature", "s", "--top-k", "3", "--timeout-ms", "5000",
            "--preprocessing", '{"scale": 2}', "--postprocessing", '{"softmax": true}',
        )  # fmt: skip
        body = stub.asked[0].body
        assert (body["modelVersion"], body["signatureName"]) == ("stable", "s")
        assert 0 < body["timeoutMs"] <= 5000
        assert (body["preprocessing"], body["postprocessing"]) == ({"scale": 2}, {"softmax": True, "topK": 3})

    def test_ranked_labels_are_a_table(self, stub):
        stub.answers({"predictions": [[{"label": "fr", "index": 3, "score": 0.91}, {"index": 4, "score": 0.02}]]})
        lines = predict(stub, "-t", "x")[0].stdout.splitlines()
        assert any(line.split() == ["0", "fr", "0.9100"] for line in lines)
        assert any(line.split() == ["4", "0.0200"] for line in lines)

    @pytest.mark.parametrize(
        ("args", "names"),
        [
            ([], "--input"),
            (["-i", "[1]", "-t", "x"], "--text"),
            (["-i", "[1"], "[1"),
            (["-i", "absent.json"], "absent.json"),
            (["-i", "[1]", "-i", "[2]"], "named"),
            (["-i", "a=[1]", "-i", "a=[2]"], "twice"),
            (["-t", "x", "--top-k", "0"], "--top-k"),
            (["-t", "x", "--postprocessing", "[]"], "--postprocessing"),
            (["-t", "x", "--preprocessing", "{"], "--preprocessing"),
            (["-i", "-"], "standard input"),
        ],
    )
    def test_wrong_usage(self, stub, args, names):
        result, _ = predict(stub, *args)
        assert result.exit_code == 2
        assert names in result.stderr
        assert stub.asked == []

    def test_files_that_cannot_be_read(self, stub, tmp_path):
        pickled, broken, other = tmp_path / "p.npy", tmp_path / "b.json", tmp_path / "o.txt"
        np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
        broken.write_bytes(b"\xff")
        other.write_text("[1]")
        for file in (pickled, broken, other):
            result, _ = predict(stub, "-i", str(file))
            assert result.exit_code == 2
            assert file.name in result.stderr
        assert stub.asked == []

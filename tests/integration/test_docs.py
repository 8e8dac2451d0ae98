"""Every example in the documentation, run as it stands against the demo models."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from doc_examples import WRITTEN_URL, commands, difference, examples, run_command

import tensorhost

COMMAND = Path(sys.executable).parent / "tensorhost"
DEMO_MODELS = Path(tensorhost.__file__).parent / "demo" / "models"
EXAMPLES = examples()
PROGRAMS = [example for example in EXAMPLES if example.language == "python"]
SHELL = [example for example in EXAMPLES if example.language == "bash"]
_START_S = 60

_RUN_PROGRAMS = """
import contextlib, io, json, sys, traceback
printed = {}
for place, code in json.load(sys.stdin).items():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, place, "exec"), {"__name__": "__main__"})
        except Exception:
            traceback.print_exc(file=out)
            out.write("FAILED")
    printed[place] = out.getvalue()
json.dump(printed, sys.__stdout__)
"""


@pytest.fixture(scope="module")
def url():
    with subprocess.Popen(
        [str(COMMAND), "demo", "--port", "0", "--log-level", "error"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "TENSORHOST_DRAIN_WINDOW_S": "0"},
    ) as server:
        try:
            url = _announced_url(server)
            # Examples come in any order; what the page shows of this model has been used before.
            httpx.post(f"{url}/predict", json={"modelName": "wine", "inputs": [[1.0] * 13]}).raise_for_status()
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)
    assert server.returncode == 0


def _announced_url(server: subprocess.Popen[bytes]) -> str:
    give_up_at = time.monotonic() + _START_S
    shown = ""
    output = server.stdout.fileno()
    while select.select([output], [], [], max(0, give_up_at - time.monotonic()))[0]:
        piece = os.read(output, 65536).decode()
        assert piece, f"the server ended: {shown}"
        shown += piece
        address = re.search(r"at (http://\S+:\d+)\n", shown)
        if address:
            return address[1]
    raise AssertionError(f"the server did not start: {shown}")


@pytest.fixture(scope="module")
def printed(url, tmp_path_factory):
    """What each program printed. One process runs them all, since importing TensorFlow takes seconds."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "models").symlink_to(DEMO_MODELS)
    programs = {program.place: _reaching(program.code, url) for program in PROGRAMS}
    ended = subprocess.run(
        [sys.executable, "-c", _RUN_PROGRAMS],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def _reaching(code: str, url: str) -> str:
    """``code`` with the address of the server in the place of the one that the pages write, some without its scheme."""
    return code.replace(WRITTEN_URL, url).replace(urlsplit(WRITTEN_URL).netloc, urlsplit(url).netloc)


@pytest.mark.parametrize("example", SHELL, ids=lambda example: example.place)
def test_commands_do_what_the_page_says(example, url):
    answers = [run_command(arguments, url) for arguments in commands(example.code)]
    assert answers
    if example.answer is not None:
        assert difference(json.loads(example.answer), answers[-1], excerpt=example.excerpt) is None


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda example: example.place)
def test_programs_print_what_the_page_says(example, printed):
    lines = iter(printed[example.place].splitlines())
    assert "FAILED" not in printed[example.place], printed[example.place]
    for expected in (example.answer or "").splitlines():
        assert expected in lines, f"'{expected}' is not in what was printed:\n{printed[example.place]}"


def test_there_are_examples_of_both_kinds_with_answers():
    assert sum(example.answer is not None for example in SHELL) > 10
    assert sum(example.answer is not None for example in PROGRAMS) > 3


@pytest.mark.parametrize(
    ("written", "actual", "excerpt"),
    [
        ({"a": 1.0}, {"a": 1.5}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": [1, 2]}, {"a": [1]}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": "x"}, {"a": "y"}, False),
        ({"inferenceTimeMs": 1.0}, {"inferenceTimeMs": "1"}, False),
        ({"a": {"b": None}}, {"a": {"b": 0}}, False),
    ],
)
def test_a_wrong_answer_is_seen(written, actual, excerpt):
    assert difference(written, actual, excerpt=excerpt) is not None


def test_commands_are_split_as_a_shell_splits_them():
    code = "curl -s http://localhost:3000/x \\\n  -d '{\n\"a\": 1}'  # one\n\ntensorhost models list\n"
    assert commands(code) == [
        ["curl", "-s", "http://localhost:3000/x", "-d", '{\n"a": 1}'],
        ["tensorhost", "models", "list"],
    ]

"""``tensorhost demo``: serve the models that come with the package, and show how to ask them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from tensorhost.cli.flags import takes_settings
from tensorhost.cli.outcome import reports_errors
from tensorhost.cli.serve import run_server
from tensorhost.settings import load_settings

_FLAGS = ("host", "port", "log_level", "log_format", "access_log")


@reports_errors
@takes_settings(_FLAGS)
def demo(**flags: Any) -> None:
    """Serve the demo models that come with tensorhost, and print requests to try."""
    from tensorhost.demo import demo_models_path, samples

    settings = load_settings(model_path=demo_models_path(), grpc_port=0, **flags)
    run_server(settings, lambda url: typer.echo(greeting(url, samples())))


def greeting(url: str, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The address, and one command per model that works when pasted into a shell.

    Args:
        url: the server's base URL.
        samples: by model, examples with an ``input`` (one row) and the ``expected`` label.
    """
    lines = ["", f"The demo models are served at {url}", "Try, in another terminal:", ""]
    for model, examples in samples.items():
        example = _pasteable(examples)
        lines += [
            f"# {model}: the answer should be {example['expected']}",
            predict_command(url, model, example["input"]),
        ]
    return "\n".join([*lines, "", "Ctrl-C stops the server.", ""])


def _pasteable(examples: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """An example in ASCII if there is one: not every terminal shows and pastes every script."""
    return next((example for example in examples if str(example["input"]).isascii()), examples[0])


def predict_command(url: str, model: str, row: object) -> str:
    """A curl command that sends one row to a model."""
    body = json.dumps({"modelName": model, "inputs": [row]}, ensure_ascii=False, separators=(",", ":"))
    return f"curl -s {shlex.quote(url + '/predict')} -H 'Content-Type: application/json' -d {shlex.quote(body)}"

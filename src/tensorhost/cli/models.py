"""``tensorhost models``: list, load, unload and label the models of a running server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tensorhost.cli.outcome import reports_errors
from tensorhost.cli.output import JsonOption, console, plain, print_json, size_text, specs_text, table
from tensorhost.cli.remote import TokenOption, UrlOption, connected

models_app = typer.Typer(
    name="models", help="List, load, unload and label the models of a running server.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.", show_default=False)]
VersionOption = Annotated[str | None, typer.Option("--version", help="One version only.", show_default=False)]

_STATE_STYLES = {"AVAILABLE": "green", "LOADING": "yellow", "WARMING": "yellow", "DRAINING": "yellow", "END": "red"}


@models_app.command("list")
@reports_errors
def list_models(
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the loaded models."""
    with connected(url, token, "Asking the server…") as client:
        models = client.models()
    if as_json:
        print_json({"models": models})
        return
    if not models:
        typer.echo("No model is loaded.")
        return
    console().print(_models_table(models))


@models_app.command()
@reports_errors
def load(
    name: NameArgument,
    version: VersionOption = None,
    path: Annotated[
        str | None,
        typer.Option("--path", help="Where the model lies on the server's disk, under a folder it allows."),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a model or one version of it."""
    with connected(url, token, f"Loading {name}…") as client:
        answer = client.load(name, version, path)
    _finish(answer, f"Loaded {name}{f' version {version}' if version else ''}.", as_json=as_json)


@models_app.command()
@reports_errors
def unload(
    name: NameArgument,
    version: VersionOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Unload a model or one version of it, once its requests in flight are done."""
    with connected(url, token, f"Unloading {name}…") as client:
        answer = client.unload(name, version)
    _finish(answer, f"Unloaded {name}{f' version {version}' if version else ''}.", as_json=as_json)


@models_app.command()
@reports_errors
def label(
    name: NameArgument,
    label: Annotated[str, typer.Argument(help="The label.", show_default=False)],
    version: Annotated[
        str | None,
        typer.Argument(help="The version it shall point to; what model.toml says when not given.", show_default=False),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a label of a model point to a version that serves."""
    with connected(url, token, f"Moving {label}…") as client:
        answer = client.label_version(name, label, version)
    points_to = answer.get("allVersionLabels", {}).get(label)
    _finish(answer, f"{label} of {name} is {points_to or 'no label any more'}.", as_json=as_json)


def _finish(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        console().print(plain(sentence))


def _models_table(models: list[dict[str, Any]]) -> Any:
    listed = table("Model", "Version", "State", "Runtime", "Inputs", "Outputs", "Memory", "Loaded at")
    for model in models:
        state = str(model.get("state", "?"))
        listed.add_row(
            plain(model.get("name", "?"), "bold cyan"),
            plain(model.get("version", "?")),
            plain(state, _STATE_STYLES.get(state, "")),
            plain(model.get("runtime") or "-"),
            plain(specs_text(model.get("inputs"))),
            plain(specs_text(model.get("outputs"))),
            plain(size_text(model.get("memoryBytes"))),
            plain(model.get("loadedAt") or "-"),
        )
    return listed

"""``tensorhost predict``: one request to a running server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tensorhost.cli.inputs import parse_object, read_inputs
from tensorhost.cli.outcome import reports_errors
from tensorhost.cli.output import JsonOption, console, plain, print_json, table
from tensorhost.cli.remote import TokenOption, UrlOption, connected


@reports_errors
def predict(
    model: Annotated[str, typer.Argument(help="The model's name.", show_default=False)],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="<value>",
            help="JSON text, a .json, .npy or image file, or - for JSON on standard input; NAME=VALUE, once for each,"
            " where the model has several inputs.",
        ),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="<text>", help="One row of a model that takes text; may be repeated."),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Version or label; the newest when not given.")
    ] = None,
    signature: Annotated[
        str | None, typer.Option("--signature", help="Signature; the default one when not given.")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Only the K best classes.")] = None,
    preprocessing: Annotated[
        str | None, typer.Option("--preprocessing", metavar="<json>", help="Preprocessing options.")
    ] = None,
    postprocessing: Annotated[
        str | None, typer.Option("--postprocessing", metavar="<json>", help="Postprocessing options.")
    ] = None,
    timeout_ms: Annotated[
        float | None, typer.Option("--timeout-ms", help="Time the answer may take, all attempts together.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model of a running server for predictions."""
    rows = read_inputs(inputs or [], texts or [])
    before = parse_object(preprocessing, "--preprocessing")
    after = parse_object(postprocessing, "--postprocessing") | ({} if top_k is None else {"topK": top_k})
    with connected(url, token, f"Asking {model}…") as client:
        prediction = client.predict(
            model,
            rows,
            version=version,
            signature=signature,
            preprocessing=before or None,
            postprocessing=after or None,
            timeout_ms=timeout_ms,
        )
    if as_json:
        print_json(prediction.answer)
        return
    _show(prediction.answer)


def _show(answer: dict[str, Any]) -> None:
    predictions = answer.get("predictions")
    if _are_ranked(predictions):
        _show_ranked(predictions)
    else:
        print_json(predictions)
    took = answer.get("inferenceTimeMs")
    timing = f", {took:.2f} ms" if isinstance(took, int | float) else ""
    console(stderr=True).print(plain(f"version {answer.get('modelVersion', '?')}{timing}", "dim"))


def _are_ranked(predictions: object) -> bool:
    """Whether every row is a list of ``{"label", "score"}``, as top-k gives."""
    return isinstance(predictions, list) and all(
        isinstance(row, list) and row and all(isinstance(item, dict) and "score" in item for item in row)
        for row in predictions
    )


def _show_ranked(predictions: Any) -> None:
    ranked = table("Row", "Label", "Score")
    ranked.columns[-1].justify = "right"
    for index, row in enumerate(predictions):
        for place, item in enumerate(row):
            label = item.get("label", item.get("index", "?"))
            score = item["score"]
            shown = f"{score:.4f}" if isinstance(score, float) else str(score)
            ranked.add_row(
                str(index) if place == 0 else "", plain(label, "bold cyan" if place == 0 else ""), plain(shown)
            )
    console().print(ranked)

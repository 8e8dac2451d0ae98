"""``python -m scripts.train_demo [digits] [langid] [wine]``: train, export, and rewrite the figures and samples.

Without names, all of them. Run from the root of the checkout.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.train_demo import digits, langid, wine
from scripts.train_demo.artefacts import DEMO, Trained

TRAINERS: dict[str, Callable[[], Trained]] = {"digits": digits.train, "langid": langid.train, "wine": wine.train}


def merge(path: Path, fresh: dict[str, Any]) -> None:
    """Replace the keys of ``fresh`` in the JSON object at ``path``, keep the others."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    merged = dict(sorted({**kept, **fresh}.items()))
    path.write_text(_dumps(merged) + "\n", encoding="utf-8")


def _dumps(document: dict[str, Any]) -> str:
    """JSON with one line for each entry of an entry, so that an image is one line and not sixty-four."""
    blocks = []
    for name, value in document.items():
        items = value.items() if isinstance(value, dict) else enumerate(value)
        lines = [
            f"    {json.dumps(key) + ': ' if isinstance(value, dict) else ''}{json.dumps(item, ensure_ascii=False)}"
            for key, item in items
        ]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        blocks.append(f"  {json.dumps(name)}: {opening}\n" + ",\n".join(lines) + f"\n  {closing}")
    return "{\n" + ",\n".join(blocks) + "\n}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo models.")
    parser.add_argument("names", nargs="*", choices=[*TRAINERS, []], metavar="NAME", help=", ".join(TRAINERS))
    for name in parser.parse_args().names or TRAINERS:
        trained = TRAINERS[name]()
        merge(DEMO / "measured.json", {key: dict(value) for key, value in trained.measured.items()})
        merge(DEMO / "samples.json", {name: [asdict(sample) for sample in trained.samples]})
        for key, figures in trained.measured.items():
            print(key, json.dumps(figures))


main()

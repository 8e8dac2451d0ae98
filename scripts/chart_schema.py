"""Writes the settings into the schema of the values of the chart; ``--check`` only says whether they are up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tensorhost.settings import Settings, setting_fields

TARGET = Path(__file__).resolve().parents[1] / "deploy" / "helm" / "tensorhost" / "values.schema.json"
LEFT_OUT = frozenset(
    {
        *("host", "port", "model_path", "cache_dir"),  # the chart's own
        *("http", "grpc_port", "grpc_socket_path"),  # as are these: probes ask over HTTP, and pods share no folder
        "admin_token",  # comes from a Secret
        "tls_client_ca",  # probes have no certificate to show
    }
)
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "pattern")


def settings_schema() -> dict[str, Any]:
    """Schemas of the settings that the chart takes, by file key."""
    described = Settings.model_json_schema(by_alias=False)["properties"]
    return {
        field: {"description": info.description} | _schema(described[field], sized="ByteSize" in str(info.annotation))
        for field, info in setting_fields().items()
        if field not in LEFT_OUT
    }


def _schema(described: dict[str, Any], *, sized: bool) -> dict[str, Any]:
    if sized:
        return {"type": ["string", "integer"]}
    choices = [_choice(choice) for choice in described.get("anyOf", [described]) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _choice(described: dict[str, Any]) -> dict[str, Any]:
    for key in ("enum", "const"):
        if key in described:
            return {key: described[key]}
    # Lists are text with separators, as in the environment.
    kind = "string" if described["type"] == "array" else described["type"]
    return {"type": kind} | {key: described[key] for key in _BOUNDS if key in described}


def render() -> str:
    """The whole schema; what is not about settings stays as it is."""
    schema = json.loads(TARGET.read_text(encoding="utf-8"))
    schema["properties"]["settings"]["properties"] = settings_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """0 when the file is, or has become, up to date; 1 when ``--check`` finds it stale."""
    wanted = render()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(wanted, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{TARGET.name} is stale: run python scripts/chart_schema.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

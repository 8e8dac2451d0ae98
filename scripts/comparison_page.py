"""The parts of docs/benchmarks.md about other servers, and of docs/comparison.md about how fast they are.

Tables and charts of ``benchmarks/results/compare.json``, and tables of ``compare_binary.json`` where that is saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from svg_charts import Row, bar_chart, range_chart

CHARTS = "charts"
"""Folder of the charts, beside the page."""

SERVERS = {
    "tensorhost": "tensorhost",
    "tensorhost_tensorflow": "tensorhost, TensorFlow only",
    "tensorhost_workers": "tensorhost, two workers",
    "tensorhost_grpcio": "tensorhost, grpcio",
    "fastapi": "FastAPI, `def`",
    "fastapi_async": "FastAPI, `async def`",
    "litserve": "LitServe, batching",
    "litserve_unbatched": "LitServe, no batching",
    "mosec": "mosec",
    "bentoml": "BentoML",
    "mlserver": "MLServer",
    "ray": "Ray Serve",
    "kserve": "KServe",
    "triton": "Triton",
    "tensorhost_json": "tensorhost, JSON",
    "tensorhost_tensorflow_json": "tensorhost, TensorFlow only, JSON",
    "kserve_json": "KServe, JSON as TensorFlow Serving's",
    "triton_json": "Triton, JSON",
    "signature": "in process: signature call",
    "frozen": "in process: frozen session",
    "openvino": "in process: OpenVINO, float32",
}
LOOPS = ("signature", "frozen", "openvino")
_TENSORHOST, _TENSORFLOW = "tensorhost", "tensorhost_tensorflow"
_BODIES = {"grpc": "gRPC", "binary": "HTTP"}
MODELS = {
    "tiny": "y = x/2 + 2 on three numbers, one row a request",
    "mlp": "784-512-256-10 perceptron, one row a request",
    "transformer": "Transformer of two layers on 64 token ids, one row a request",
    "mobilenetv2": "MobileNetV2, one image of 224×224×3 a request",
    "resnet50": "ResNet50, one image of 224×224×3 a request",
    "pixels": "mean colour of an image of 224×224×3, one image a request",
}
PEERS = {
    "fastapi": "pydantic model of nested lists, `tolist`, uvicorn with uvloop and httptools; as `def` in a thread pool,"
    " as `async def` on the event loop",
    "litserve": "one worker, batches of up to 32, batch timeout 1 ms; and once without batching",
    "mosec": "front end in Rust, one worker, batches of up to 32, wait 1 ms",
    "bentoml": "batchable API of NumPy arrays, adaptive batching of up to 32, default latency goal",
    "mlserver": "custom runtime, V2 protocol, one inference worker, adaptive batching of up to 32 within 1 ms",
    "ray": "one replica, `serve.batch` of up to 32 within 1 ms, its high-throughput mode with HAProxy",
    "kserve": "custom model, V1 protocol; batching is the part of a sidecar that no Python package contains",
    "triton": "`tritonserver` of the nvidia-pytriton wheel, Python backend, V2 protocol, dynamic batching of up to 32",
}

BINARY_PEERS = {
    "mlserver": "custom runtime, one inference worker, adaptive batching of up to 32 within 1 ms; no binary tensors"
    " over HTTP",
    "ray": "one replica, `serve.batch` of up to 32 within 1 ms, its high-throughput mode with HAProxy; a ModelInfer"
    " written by hand, no binary tensors over HTTP",
    "kserve": "custom model, grpc.aio; no batching",
    "triton": "`tritonserver` of the nvidia-pytriton wheel, Python backend, dynamic batching of up to 32",
}

_HEAD = """\
## Against other servers, over HTTP

The same SavedModel, the same numbers, one model process each. Every server runs as its own documentation has it, with
its batching on; all call TensorFlow as its users write it, through the model's signature. The requests are JSON;
gRPC has sections of its own below.
Versions that differ from those of tensorhost's environment:

{peers}

Every server's answer is compared with TensorFlow's before it is timed, and a failed request fails its turn. All take
turns of a few seconds, the others being paused; ratios are taken round by round between neighbours in time, and shown
as the median and, in brackets, the lowest and the highest round. *Requests/s* has its lowest and highest round in
brackets, too. *µs/request* is the server's processor time per request; *others busy* is cores used by programs that
have nothing to do with the run. *Times rate* is tensorhost's requests a second over the other's, *times processor* the
other's processor time per request over tensorhost's.

*In process* is the model called in a loop by a process that does nothing else, as many rows at a time as there are
connections, at most 32: what the machine can do without a server. *Frozen session* is TensorFlow as tensorhost calls
it. For these rows *times rate* is the share of that ceiling the server reaches, and a p50 is one call.

In the closed loop each connection sends its next request when it has its answer. In the open loop requests are due at
random times (a Poisson process, the same for all) at a fixed rate whether or not the server keeps up, and latency
counts from the time a request was due; *late* is the 99th percentile of the generator's own delay, *unanswered* what
was left two seconds after the last request was due.
"""

_BINARY_HEAD = """\
## Against other servers, with numbers as bytes

The Open Inference Protocol, over gRPC and with binary tensor data over HTTP, for those of the servers above that have
it. Measured as above, in the closed loop: the same models and numbers, all in turn, every answer compared, none failed
where there is a figure. Versions that differ from those of tensorhost's environment:

{peers}

Over gRPC, tensorhost is there twice: over the native transport, which it takes on the loopback interface, and over
grpcio, which it takes where strangers can reach the port. Calls are made by a generator of our own, which costs
less than gRPC's clients; requests over HTTP by wrk. *Client* is cores that the generator used: where it comes near
1, the client was the limit and not the server. Server and client share two cores, so what the client takes is also
missing to a server that could use both. Where tensors are bytes behind JSON, whoever takes them was asked for the same
in JSON in the same rounds.
"""

_IN_COMPARISON = """\
Other saved runs are over gRPC, and over HTTP with tensors as bytes, against those that have it. So many times the
requests a second of each of them tensorhost answers; rates, latencies and settings are
[in Benchmarks](benchmarks.md#against-other-servers-with-numbers-as-bytes).
"""

_AFTER_COMPARISON = """\
Over gRPC this is tensorhost's native transport, which serves the loopback interface. Where strangers can reach the port
it takes grpcio, which answers fewer small calls a second; its rows are in Benchmarks, too. None of these runs says
anything about GPUs, which is where Triton is at home.
"""

_NOTHING_IN_COMPARISON = """\
Nor do these runs say anything about GPUs, gRPC or large tensors in binary form, which is where Triton is at home.
"""


def comparison_section(saved: dict[str, Any], where: str) -> list[str]:
    """Text and tables, one per case; ``where`` names machine and date."""
    ours = _ours(saved["cases"])
    parts = [_HEAD.format(peers="\n".join(_peer_table(saved, PEERS))), f"{where}; {saved['how']['generator']}.\n"]
    for model in dict.fromkeys(case["model"] for case in saved["cases"]):
        parts.append(f"### {MODELS[model]}\n")
        parts += [f"![{title}]({CHARTS}/{name})\n" for name, (title, _) in _charts_of(model, saved["cases"]).items()]
        for case in saved["cases"]:
            if case["model"] == model:
                table = _open_table(case) if case["rate"] else _closed_table(case, ours)
                parts += [f"{_title(case)}:\n", *table, ""]
    return parts


def binary_section(saved: dict[str, Any], where: str) -> list[str]:
    """Text and tables of ``compare_binary.json``, one per case; ``where`` names machine and date."""
    versions = ", ".join(f"{name} {saved['versions'][name]}" for name in ("pygrpc-native", "grpcio"))
    parts = [_BINARY_HEAD.format(peers="\n".join(_peer_table(saved, BINARY_PEERS)))]
    parts.append(f"{where}, {versions}; {saved['how']['generator']}.\n")
    for kind, model in dict.fromkeys((case["body"], case["model"]) for case in saved["cases"]):
        parts.append(f"### {_BODIES[kind]}: {MODELS[model]}\n")
        for case in saved["cases"]:
            if (case["body"], case["model"]) == (kind, model):
                table = _closed_table(case, _ours([case]), with_client=True)
                parts += [f"{_binary_title(case, saved['how'])}:\n", *table, ""]
    return parts


def binary_summary(saved: dict[str, Any] | None) -> str:
    """What docs/comparison.md says of ``compare_binary.json``; None where that is not saved."""
    if saved is None:
        return _NOTHING_IN_COMPARISON
    names = [name for name, _ in _in_order({name: None for case in saved["cases"] for name in case["servers"]})]
    others = [name for name in names if name not in _ours(saved["cases"]) and not name.endswith(f"{_TENSORFLOW}_json")]
    lines = _header("", *(f"{_label(name)}" for name in others))
    for case in saved["cases"]:
        ratios = [case["servers"].get(name, {}).get("times", {}).get(_TENSORHOST) for name in others]
        cells = [f"{ratio['requests_s']['median']:.1f}×" if ratio else "" for ratio in ratios]
        many = "in flight" if case["body"] == "grpc" else "connections" if case["connections"] > 1 else "connection"
        what = f"{_BODIES[case['body']]}, {MODELS[case['model']].partition(',')[0]}, {case['connections']} {many}"
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join([_IN_COMPARISON, *lines, "", _AFTER_COMPARISON])


def comparison_charts(saved: dict[str, Any]) -> dict[str, str]:
    """Every chart of the section, by file name."""
    charts: dict[str, str] = {}
    for model in dict.fromkeys(case["model"] for case in saved["cases"]):
        charts |= {name: svg for name, (_, svg) in _charts_of(model, saved["cases"]).items()}
    return charts


def _peer_table(saved: dict[str, Any], peers: dict[str, str]) -> Iterable[str]:
    yield from ("| server | how it runs | versions |", "|---|---|---|")
    for name, what in peers.items():
        label = SERVERS[name].partition(",")[0]
        if name in saved["peers"]:
            found = saved["peers"][name].items() - saved["versions"].items()
            versions = ", ".join(f"{package} {number}" for package, number in sorted(found))
            yield f"| {label} | {what} | {versions} |"
        elif name in saved["unavailable"]:
            yield f"| {label} | not measured: it {saved['unavailable'][name]} | |"


def _ours(cases: list[dict[str, Any]]) -> list[str]:
    """The names of tensorhost's own, in the order of the tables: those that are compared with nobody."""
    found = (name for case in cases for name, one in _in_order(case["servers"]) if one.get("times") == {})
    return list(dict.fromkeys(found))


def _label(name: str) -> str:
    return SERVERS.get(name, name)


def _title(case: dict[str, Any]) -> str:
    connections = f"{case['connections']} connection{'s' * (case['connections'] > 1)}"
    body = "the image as PNG in base64, " if case["body"] == "png" else ""
    if case["rate"]:
        return f"Open loop, {case['rate']:,} requests/s offered over {connections}, {body}{_size_and_turns(case)}"
    return f"Closed loop, {connections}, {body}{_size_and_turns(case)}"


def _binary_title(case: dict[str, Any], how: dict[str, Any]) -> str:
    connections = min(case["connections"], how["grpc_connections"]) if case["body"] == "grpc" else case["connections"]
    over = f"{connections} connection{'s' * (connections > 1)}"
    loop = f"{case['connections']} in flight over {over}" if case["body"] == "grpc" else over
    return f"{loop[:1].upper()}{loop[1:]}, {_size_and_turns(case)}"


def _size_and_turns(case: dict[str, Any]) -> str:
    sizes = [one["body_bytes"] for one in case["servers"].values() if "body_bytes" in one]
    size = f"requests of {min(sizes):,.0f} bytes" if sizes else "no request answered"
    rounds = max((len(one["rounds"]) for one in case["servers"].values() if "rounds" in one), default=0)
    return f"{size}, {rounds} round{'s' * (rounds != 1)} of {case['seconds']} s"


def _closed_table(case: dict[str, Any], ours: list[str], *, with_client: bool = False) -> list[str]:
    ratios = [f"times rate{_of(mine, ours)}" for mine in ours] + [f"times processor{_of(ours[0], ours)}"]
    busy = (
        {"client": "generator_cores", "others busy": "other_cores"} if with_client else {"others busy": "other_cores"}
    )
    lines = _header("server", "requests/s", "p50 ms", "p99 ms", "µs/request", *busy, *ratios)
    for name, one in _in_order(case["servers"]):
        if "failed" in one:
            lines.append(_failed(name, one, 4 + len(busy) + len(ratios)))
            continue
        times = [_ratio(one["times"].get(mine, {}).get("requests_s")) for mine in ours]
        times.append(_ratio(one["times"].get(ours[0], {}).get("cpu")))
        cells = [_rate(one), f"{one['p50_ms']:,.2f}", f"{one['p99_ms']:,.2f}"]
        cells += [f"{one['cpu_us_per_request']:,.0f}", *(f"{one[cores]:.1f}" for cores in busy.values()), *times]
        lines.append(f"| {_label(name)} | " + " | ".join(cells) + " |")
    return lines


def _open_table(case: dict[str, Any]) -> list[str]:
    latencies = ("p50 ms", "p99 ms", "p99.9 ms", "longest ms")
    lines = _header("server", "answered/s", *latencies, "unanswered", "µs/request", "generator µs", "late ms")
    for name, one in _in_order(case["servers"]):
        if "failed" in one:
            lines.append(_failed(name, one, 9))
            continue
        cells = [f"{one['requests_s']:,.0f}"]
        cells += [f"{one[figure]:,.2f}" for figure in ("p50_ms", "p99_ms", "p99_9_ms", "max_ms")]
        cells += [f"{one[figure]:,.0f}" for figure in ("unanswered", "cpu_us_per_request", "generator_us_per_request")]
        lines.append(f"| {_label(name)} | " + " | ".join([*cells, f"{one['late_p99_ms']:.2f}"]) + " |")
    return lines


def _charts_of(model: str, cases: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Name of the file to title and SVG: rates of the closed loops, latencies of the open ones."""
    mine = [case for case in cases if case["model"] == model and case["body"] == "json"]
    charts = {}
    if closed := [case for case in mine if not case["rate"]]:
        title = f"{MODELS[model].partition(',')[0]}: requests a second, closed loop"
        # Beside the smallest models' ceilings nothing else would be seen.
        dwarfed = ("tiny", "mlp", "transformer")
        rows = _rows(closed, ("requests_s",), LOOPS if model in dwarfed else ())
        panels = [f"{case['connections']} connection{'s' * (case['connections'] > 1)}" for case in closed]
        charts[f"{model}-rate.svg"] = (title, bar_chart(title, panels, rows))
    if opened := [case for case in mine if case["rate"]]:
        title = f"{MODELS[model].partition(',')[0]}: latency in ms (p50, p99, p99.9), open loop"
        rows = _rows(opened, ("p50_ms", "p99_ms", "p99_9_ms"), LOOPS)
        panels = [f"{case['rate']:,} requests/s offered" for case in opened]
        charts[f"{model}-latency.svg"] = (title, range_chart(title, panels, rows))
    return charts


def _rows(cases: list[dict[str, Any]], figures: tuple[str, ...], without: tuple[str, ...]) -> list[Row]:
    ours = _ours(cases)
    names = dict.fromkeys(name for case in cases for name, _ in _in_order(case["servers"]) if name not in without)
    rows = []
    for name in names:
        found = [case["servers"].get(name, {"failed": ""}) for case in cases]
        values = tuple(None if "failed" in one else tuple(one[figure] for figure in figures) for one in found)
        kind = "ours" if name in ours else "ceiling" if name in LOOPS else "other"
        rows.append(Row(_label(name).replace("`", ""), kind, values))
    return rows


def _in_order(servers: dict[str, Any]) -> list[tuple[str, Any]]:
    """Known servers as in ``SERVERS``, others where the run had them first."""
    places = list(SERVERS)
    return sorted(servers.items(), key=lambda item: places.index(item[0]) if item[0] in places else 0)


def _of(name: str, ours: list[str]) -> str:
    return f" of {_label(name)}" if len(ours) > 1 else ""


def _failed(name: str, one: dict[str, Any], cells: int) -> str:
    reason = one["failed"].replace("|", " ").replace("<", "&lt;")
    return f"| {_label(name)} | {reason} |" + " |" * (cells - 1)


def _header(*titles: str) -> list[str]:
    return ["| " + " | ".join(titles) + " |", "|---|" + "--:|" * (len(titles) - 1)]


def _rate(one: dict[str, Any]) -> str:
    lowest, highest = (one["spread"]["requests_s"][name] for name in ("lowest", "highest"))
    digits = 0 if one["requests_s"] >= 10 else 1
    return f"{one['requests_s']:,.{digits}f} ({lowest:,.{digits}f}–{highest:,.{digits}f})"


def _ratio(spread: dict[str, float] | None) -> str:
    if spread is None:
        return ""
    median, lowest, highest = (f"{spread[name]:.2f}" for name in ("median", "lowest", "highest"))
    return f"**{median}×** ({lowest}–{highest})"

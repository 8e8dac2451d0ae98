"""What the page computes, called inside the browser and compared with the server's own code."""

import json
import random
import shlex

import pytest
from visitor import Visitor, url_of

from tensorhost.telemetry.histograms import SECONDS_BOUNDS, Histogram

LIMIT_BYTES = 300_000


@pytest.fixture(scope="module")
def call(chromium, server):
    """Calls an expression with a module of the page as ``m`` and an argument as ``a``."""
    with Visitor(chromium, url_of(server)) as visitor:
        visitor.open("errors")

        def run(module, expression, argument=None):
            return visitor.page.evaluate(
                f"async (a) => {{ const m = await import('/dashboard/{module}.js'); return {expression}; }}", argument
            )

        yield run


def test_quantiles_are_those_of_the_server(call):
    draw = random.Random(5)
    cases = []
    for _ in range(200):
        histogram = Histogram()
        for _ in range(draw.randrange(1, 60)):
            histogram.observe(draw.choice([0.0, 1e-5, 40.0, draw.lognormvariate(-6, 3)]))
        fraction = draw.choice([0.5, 0.95, 0.99, draw.random()])
        cases.append((histogram.counts, fraction, histogram.quantile(fraction)))
    found = call(
        "samples",
        "a.cases.map(([counts, fraction]) => m.quantile(counts, a.bounds, fraction))",
        {"cases": [case[:2] for case in cases], "bounds": SECONDS_BOUNDS},
    )
    assert found == pytest.approx([case[2] for case in cases])
    assert call("samples", "m.quantile([0, 0, 0], [1, 2], 0.5)") is None


def test_what_is_kept_is_bounded_and_history_is_the_truth_for_its_time(call):
    script = """(() => {
      const ring = new m.Ring(4);
      const sample = (at, mark) => ({ at, seconds: 2, mark });
      for (let at = 2; at <= 20; at += 2) ring.add(sample(at, "live"));
      const kept = ring.samples.map((one) => one.at);
      const twice = ring.add(sample(20.1, "again"));
      ring.merge([sample(17.9, "past"), sample(19.9, "past")]);
      return { kept, twice, merged: ring.samples.map((one) => [one.at, one.mark]) };
    })()"""
    assert call("samples", script) == {
        "kept": [14, 16, 18, 20],
        "twice": False,
        "merged": [[14, "live"], [16, "live"], [17.9, "past"], [19.9, "past"]],
    }


def test_time_without_samples_is_a_gap(call):
    script = "m.gaps([10, 12, 20, 22].map((at) => ({ at, seconds: 2 })), 8, 30)"
    assert call("samples", script) == [[12, 18], [22, 30]]
    assert call("samples", "m.gaps([], 0, 10)") == [[0, 10]]


@pytest.mark.parametrize(
    ("largest", "unit", "ticks"),
    [
        (7, "count", [0, 2, 4, 6, 8]),
        (1, "count", [0, 1]),
        (0, "rate", [0, 0.25, 0.5, 0.75, 1]),
        (0.0042, "seconds", [0, 0.002, 0.004, 0.006]),
    ],
)
def test_ticks_are_round(call, largest, unit, ticks):
    script = f"import('/dashboard/format.js').then(({{ UNITS }}) => m.valueTicks({largest}, UNITS.{unit}))"
    assert call("scale", script) == pytest.approx(ticks)


def test_a_logarithmic_axis_spans_the_powers_of_ten_around_the_values(call):
    script = """(() => {
      const unit = { base: () => 1, whole: false };
      const wide = m.axis([0, 0.0003, 0.02], unit, true);
      const ticks = (...values) => m.axis(values, unit, true).ticks;
      return [wide.ticks, wide.place(0), wide.place(0.001), ticks(2), ticks(0)];
    })()"""
    wide, floor, middle, narrow, nothing = call("scale", script)
    assert wide == pytest.approx([0.0001, 0.001, 0.01, 0.1])
    assert (floor, middle) == pytest.approx((0, 1 / 3))
    assert narrow == pytest.approx([1, 2, 5, 10])
    assert nothing[0] == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 ms"), (4.2e-5, "42 µs"), (0.01234, "12.3 ms"), (1.5, "1.5 s"), (None, "–")],
)
def test_times_are_short(call, value, text):
    assert call("format", "m.seconds(a)", value) == text


def test_an_answer_with_more_digits_than_a_browser_reads_is_shown_as_it_came(call):
    def shown(predictions):
        text = f'{{"predictions":{predictions},"modelName":"m","modelVersion":"1"}}'
        script = """(() => {
          const root = document.createElement("div");
          const answer = { text: a, requestId: null, tookMs: 1, classes: null };
          root.append(...m.showAnswer(answer).flat(Infinity).filter(Boolean));
          return [root.querySelector("details").open, root.textContent];
        })()"""
        return call("result", script, text)

    is_open, content = shown("[[9007199254740993, 1]]")
    assert is_open
    assert "9007199254740993" in content
    assert "9007199254740992" not in content
    assert not shown("[[9007199254740991, 1]]")[0]


def test_python_means_what_the_json_means(call):
    for text in (r'"a\/b"', r'"\ud83d\ude00"', '"\\n\\u0041"', '{"a": [true, null, "true"]}'):
        assert eval(call("json", "m.toPython(a)", text)) == json.loads(text)


def test_large_integers_keep_their_digits(call):
    text = '{"a":[9007199254740993,-1],"b":{"c":"x, [y]","d":[]}}'
    assert call("json", "m.indent(a, 20)", text) == (
        '{\n  "a": [\n    9007199254740993,\n    -1\n  ],\n  "b": {\n    "c": "x, [y]",\n    "d": []\n  }\n}'
    )
    assert call("json", "m.indent(a)", text) == '{"a": [9007199254740993, -1], "b": {"c": "x, [y]", "d": []}}'
    assert call("json", "m.toPython(a)", '{"a":[true,null,"false"],"b":9007199254740993}') == (
        '{"a": [True, None, "false"], "b": 9007199254740993}'
    )


@pytest.mark.parametrize(
    ("dtype", "shape", "modes"),
    [
        ("float32", [None, 8, 8, 1], ["draw", "image", "json"]),
        ("uint8", [None, 224, 224, 3], ["image", "json"]),
        ("float32", [None, 28, 28], ["json", "draw", "image"]),
        ("float32", [None, 13], ["fields", "json"]),
        ("int64", [None], ["fields", "json"]),
        ("float32", [None, 784], ["json"]),
        ("string", [None], ["text", "json"]),
        ("string", [None, 1], ["text", "json"]),
        ("string", [None, None], ["json"]),
        ("bool", [None, 2], ["json"]),
        ("float32", None, ["json"]),
    ],
)
def test_an_input_is_entered_in_the_way_it_asks_for(call, dtype, shape, modes):
    assert call("specs", "m.modesOf(a)", {"dtype": dtype, "shape": shape}) == modes


def test_a_request_becomes_a_command_for_tensorflow_serving(call):
    request = {"model": "it's", "version": "stable", "signature": None, "inputs": [["x", "[[1.0], [2.0]]"]]}
    script = "m.asTensorFlowServing(a, { stable: '2' }, 'http://host:1/sub')"
    command = shlex.split(call("snippets", script, request))
    assert command[:3] == ["curl", "-s", "http://host:1/sub/v1/models/it's/labels/stable:predict"]
    assert json.loads(command[-1]) == {"instances": [[1.0], [2.0]]}
    request |= {"version": "2", "signature": "scores", "inputs": [["x", "[1]"], ["y", "[2]"]]}
    command = shlex.split(call("snippets", script, request))
    assert command[2].endswith("/versions/2:predict")
    assert json.loads(command[-1]) == {"signature_name": "scores", "inputs": {"x": [1], "y": [2]}}
    for version, path in {"v0012": "/versions/12", "1.2.0": "", None: ""}.items():
        command = shlex.split(call("snippets", script, request | {"version": version}))
        assert command[2].endswith(f"/v1/models/it's{path}:predict")


def test_the_page_is_small_and_comes_from_one_host(visitor):
    files = []

    def keep(response):
        if response.url.endswith((".js", ".css", ".svg", "/")):
            files.append(response)

    visitor.page.on("response", keep)
    visitor.open()
    assert len(files) > 10
    assert sum(len(file.body()) for file in files) < LIMIT_BYTES

from __future__ import annotations

import re
import tomllib
from typing import get_args

import pytest
from markdown_pages import PAGES, blocks, code_spans, first_table, names_in, read, section
from pydantic import BaseModel

from tensorhost.batching import CloseReason
from tensorhost.codecs.images import Colour, ResizeMethod
from tensorhost.frontends.native import NativeApp
from tensorhost.frontends.native.openapi.errors import MEANINGS
from tensorhost.frontends.native.predictions import BATCH, BATCH_FIELDS, INPUTS, ITEM_FIELDS, PREDICT_FIELDS
from tensorhost.frontends.native.statuses import HTTP_STATUS
from tensorhost.inference import InferenceEngine
from tensorhost.models import ModelManager
from tensorhost.models.config import ModelConfig
from tensorhost.pipelines import PostprocessingOptions, PreprocessingOptions, options
from tensorhost.settings import Settings, environment_variable, setting_fields
from tensorhost.telemetry import MetricsCollector, triton_names
from tensorhost.telemetry.machine import Machine

PROCESSING = read("docs/pre-and-postprocessing.md")
HTTP = read("docs/http-api.md")


def _column(table: list[list[str]], index: int = 0) -> list[str]:
    return [name for row in table for name in names_in(row[index])]


def _config_keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys |= _config_keys(kind, f"{prefix}{name}.")
        else:
            keys.add(prefix + name)
    return keys


def test_every_key_of_model_toml_is_documented():
    documented = _column(first_table(section(read("docs/models.md"), "model.toml")))
    assert sorted(documented) == sorted(_config_keys(ModelConfig))


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_examples_of_model_toml_are_valid(page):
    examples = [tomllib.loads(block) for block in blocks(read(page), "toml")]
    assert examples
    for example in examples:
        config = ModelConfig(**example)
        PreprocessingOptions.from_model(config.preprocessing)
        PostprocessingOptions.from_model(config.postprocessing)


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("Preprocessing", options._PREPROCESSING_MODEL),
        ("Postprocessing", options._POSTPROCESSING_MODEL),
        ("tokenize", options._TOKENIZE_MODEL),
    ],
)
def test_every_option_of_a_pipeline_is_documented(title, keys):
    documented = _column(first_table(section(PROCESSING, title)))
    assert sorted(documented) == sorted(keys)


def test_options_only_the_model_may_set_are_marked():
    for title, in_request in (
        ("Preprocessing", options._PREPROCESSING_REQUEST),
        ("Postprocessing", options._POSTPROCESSING_REQUEST),
    ):
        for key, value, _ in first_table(section(PROCESSING, title)):
            refused = in_request[names_in(key)[0]][1] is options.refuse
            assert refused == ("only" in value), key
    for key, _, in_request in first_table(section(PROCESSING, "tokenize")):
        refused = options._TOKENIZE_REQUEST[names_in(key)[0]][1] is options.refuse
        assert refused == (in_request == "no"), key


def test_choices_are_documented():
    spans = set(code_spans(section(PROCESSING, "Preprocessing")))
    assert set(get_args(ResizeMethod)) <= spans
    assert {f'"{colour}"' for colour in get_args(Colour)} <= spans
    resize = next(row for row in first_table(section(PROCESSING, "Preprocessing")) if row[0] == "`resize`")
    assert set(re.findall(r'"(\w+)"', resize[1])) == set(options._RESIZE)


def test_the_error_table_is_the_one_in_the_code():
    documented = {code_spans(code)[0]: int(status) for code, status, _ in first_table(section(HTTP, "Errors"))}
    assert documented == {code.value: status for code, status in HTTP_STATUS.items()}


def test_the_error_table_says_what_the_api_description_says():
    documented = {code_spans(code)[0]: when for code, _, when in first_table(section(HTTP, "Errors"))}
    assert documented == {code.value: meaning.when for code, meaning in MEANINGS.items()}


def test_every_route_is_documented():
    app = NativeApp(InferenceEngine(ModelManager()), Settings.model_construct())
    served = {("POST", path) for path in app._inference}
    served |= {(route.methods[0], _path_of(route.pattern.pattern)) for route in app._routes}
    documented = {tuple(span.split(" ", 1)) for row in first_table(HTTP) for span in code_spans(row[0])}
    assert documented == served


def _path_of(pattern: str) -> str:
    return re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern).strip("^$").replace(r"\.", ".")


def test_every_field_of_a_request_is_documented():
    assert set(_column(first_table(section(HTTP, "Predict")))) == PREDICT_FIELDS | INPUTS
    form = section(HTTP, "Batch predict").split("`")[1]
    assert set(re.findall(r'"(\w+)"', form)) == BATCH_FIELDS | BATCH | ITEM_FIELDS | INPUTS


def test_reasons_for_closing_a_batch_are_documented():
    documented = _column(first_table(section(read("docs/batching.md"), "Tuning")))
    assert sorted(documented) == sorted(reason.value for reason in CloseReason)


def test_what_has_tritons_names_is_documented():
    text = triton_names.add_to(b"", MetricsCollector().view(), Machine()).decode()
    metrics = section(read("docs/metrics.md"), "Under Triton's names")
    assert sorted(_column(first_table(metrics))) == sorted(re.findall("^# TYPE ([a-z_]+)", text, re.MULTILINE))
    reasons = first_table(metrics[metrics.index("| `reason` |") :])
    assert {code: names_in(reason)[0] for reason, codes in reasons for code in names_in(codes)} == {
        code.value: reason for code, reason in triton_names.FAILURE_REASONS.items() if reason != "OTHER"
    }


def test_limits_name_settings_and_their_defaults():
    units = {"MiB": 2**20, "KiB": 2**10, "s": 1, "": 1}
    fields = setting_fields()
    for _, setting, default, _ in first_table(section(read("docs/operations.md"), "Limits")):
        value = fields[code_spans(setting)[0]].default
        power = re.fullmatch(r"(\d+)\^(\d+)", default)
        number = re.fullmatch(r"(\d+) ?(\w*)", default)
        if power:
            assert value == int(power[1]) ** int(power[2]), setting
        elif number:
            assert value == int(number[1]) * units[number[2]], setting
        else:
            assert (default, value) == ("none", 0), setting


def test_environment_variables_in_the_pages_exist():
    known = {environment_variable(field) for field in setting_fields()}
    for page in PAGES:
        named = set(re.findall(r"\bTENSORHOST_[A-Z_]+\b", page.read_text(encoding="utf-8")))
        assert named <= known, page.name


def test_metrics_in_the_pages_exist():
    reference = read("docs/metrics.md")
    for page in PAGES:
        for name in re.findall(r"`(tensorhost_\w+)", page.read_text(encoding="utf-8")):
            assert f"`{name}" in reference, f"{page.name}: {name}"


def test_make_targets_are_documented():
    targets = set(re.findall(r"^([\w-]+):.*## ", read("Makefile"), re.MULTILINE))
    table = first_table(section(read("CONTRIBUTING.md"), "Set up"))
    documented = {span.removeprefix("make ") for row in table for span in code_spans(row[0])} | {"setup", "help"}
    assert documented == targets


def test_extras_are_documented():
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    line = re.search(r"^Extras: .*?(?=\n\n)", read("README.md"), re.MULTILINE | re.DOTALL)
    assert line
    assert set(code_spans(line[0])) == set(extras)

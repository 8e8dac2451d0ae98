"""Examining a model of any format, and refusing it where the operator trusts strictly."""

from __future__ import annotations

import json
import sys

import pytest

from tensorhost.core.errors import ErrorCode, ModelFailedError, UntrustedModelError
from tensorhost.runtimes import Contents, Finding, FindingKind, LoadOptions, examine, refuse_untrusted
from tensorhost.runtimes.base import Trust
from tensorhost.runtimes.contents import LONGEST_NAME, most_frequent_first, shown, worst_first

STRICT = LoadOptions(1, 1, trust=Trust.STRICT)
READS = Finding(FindingKind.READS_FILES, "ReadFile", 2, "Reads '/etc/hostname'.")
PYTHON = Finding(FindingKind.RUNS_PYTHON, "Lambda", 1, "Runs Python code.")


def test_a_model_that_only_computes_passes_strict_trust(models):
    refuse_untrusted(examine(models / "half_plus_two", STRICT), STRICT)


def test_a_model_with_findings_is_refused_where_trust_is_strict(models, options):
    contents = examine(models / "shapes", STRICT)
    refuse_untrusted(contents, options)
    with pytest.raises(UntrustedModelError, match="ReadFile: Reads a file whose name comes with the request") as caught:
        refuse_untrusted(contents, STRICT)
    assert caught.value.code is ErrorCode.MODEL_FAILED
    assert caught.value.details["findings"] == [finding.to_json() for finding in contents.findings]


def test_the_refusal_names_the_first_few_findings():
    findings = tuple(Finding(FindingKind.READS_FILES, f"Op{index}", 1, "Reads files.") for index in range(5))
    with pytest.raises(UntrustedModelError) as caught:
        refuse_untrusted(Contents(findings=findings), STRICT)
    message = caught.value.message
    assert "Op2: Reads files." in message
    assert "Op3" not in message
    assert message.endswith("And 2 more.")


def test_modules_named_by_the_model_are_findings_and_are_not_imported(models, tmp_path, monkeypatch):
    (tmp_path / "examined_module.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = LoadOptions(1, 1, model_modules=("examined_module", "json"), modules=("json",))
    contents = examine(models / "half_plus_two", asked)
    assert [(finding.kind, finding.subject) for finding in contents.findings] == [
        (FindingKind.RUNS_PYTHON, "examined_module")
    ]
    assert "model.toml" in contents.findings[0].explanation
    assert "examined_module" not in sys.modules


def test_a_path_without_a_model_is_an_error(tmp_path, options):
    with pytest.raises(ModelFailedError, match=r"No model was found\.") as caught:
        examine(tmp_path / "absent", options)
    assert str(tmp_path) not in caught.value.message


def test_graph_models_of_tensorflow_js_have_operations_and_no_findings(tmp_path, options):
    node = {"name": "x", "op": "Placeholder"}
    function = {"signature": {"name": "f"}, "nodeDef": [{"name": "a", "op": "Add"}, {"name": "b", "op": "f"}]}
    weights = [
        {"name": "w", "dtype": "float32", "shape": [4, 3]},
        {"name": "axis", "dtype": "int32", "shape": [2]},
        {"name": "scale", "dtype": "float32", "shape": []},
    ]
    document = {
        "modelTopology": {
            "node": [node, {"name": "w", "op": "Const"}, {"op": 3}, 7],
            "library": {"function": [function]},
        },
        "weightsManifest": [{"paths": ["w.bin"], "weights": weights}],
    }
    (tmp_path / "model.json").write_text(json.dumps(document), encoding="utf-8")
    contents = examine(tmp_path, options)
    assert contents.operations == {"Add": 1, "Const": 1, "Placeholder": 1}
    assert contents.parameters == 12
    assert contents.findings == ()


def test_contents_in_json():
    contents = Contents({"Conv2D": 2}, 10, (READS,))
    assert json.loads(json.dumps(contents.to_json())) == {
        "operations": {"Conv2D": 2},
        "parameters": 10,
        "findings": [
            {"kind": "reads_files", "subject": "ReadFile", "count": 2, "explanation": "Reads '/etc/hostname'."}
        ],
    }


def test_the_worst_finding_comes_first():
    assert worst_first([READS, PYTHON]) == (PYTHON, READS)


def test_the_most_frequent_operation_comes_first():
    assert list(most_frequent_first({"b": 1, "a": 1, "c": 3})) == ["c", "a", "b"]


@pytest.mark.parametrize(("name", "text"), [("Conv2D", "Conv2D"), ("a\x1b[0m\nb", "a?[0m?b"), ("", "")])
def test_words_of_a_model_are_shown_without_control_characters(name, text):
    assert shown(name) == text


def test_long_words_of_a_model_are_cut():
    assert shown("a" * LONGEST_NAME) == "a" * LONGEST_NAME
    assert shown("a" * 5000) == "a" * (LONGEST_NAME - 1) + "…"

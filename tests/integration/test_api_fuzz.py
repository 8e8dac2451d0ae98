"""schemathesis against running servers: requests made of the API description, right and wrong ones, the same each time.

What it may not find: a status, a media type, a header or a body that the description does not have, a 500, wrong data
that is taken for right, a method that is not refused as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from native_server import RunningServer
from schemathesis.config import SchemathesisConfig

from tensorhost.demo import demo_models_path
from tensorhost.frontends.native.openapi.document import build

CONFIG = {
    "seed": 2026,
    "checks": {
        # Out of time and out of service are answers to requests that ask for it; a 500 or a 507 is none.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503", "504"]},
    },
    "operations": [
        {
            # What a model takes, and what lies at a path, a document for all models and disks cannot say.
            "include-operation-id": ["predict", "loadModel"],
            "checks": {"positive_data_acceptance": {"enabled": False}},
        },
        {
            # A wrong item is refused at its place in an answer of status 200.
            "include-operation-id": "batchPredict",
            "checks": {"negative_data_rejection": {"enabled": False}, "positive_data_acceptance": {"enabled": False}},
        },
    ],
}


def _document():
    """The description without ``Content-Encoding``: bodies are sent as they are."""
    document = build()
    for operations in document["paths"].values():
        for operation in operations.values():
            coding = {"$ref": "#/components/parameters/ContentEncoding"}
            operation["parameters"] = [parameter for parameter in operation["parameters"] if parameter != coding]
    return document


api = schemathesis.openapi.from_dict(_document(), config=SchemathesisConfig.from_dict(CONFIG))

bounded = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def controlled() -> Iterator[RunningServer]:
    """A server of the demo models of which nothing else is asked, since its models come and go."""
    with RunningServer(demo_models_path()) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


@api.exclude(tag="Control").parametrize()
@bounded
def test_no_request_gets_an_answer_that_is_not_described(case, server):
    _validated(case, server)


@api.include(tag="Control").parametrize()
@bounded
def test_no_control_request_gets_an_answer_that_is_not_described(case, controlled):
    _validated(case, controlled)


def _validated(case, running: RunningServer) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{running.port}")

"""What the environment of SageMaker and Vertex AI becomes, and what is heard before it."""

import pytest

from tensorhost.cli.clouds import cloud_settings
from tensorhost.core.errors import InvalidRequestError
from tensorhost.settings import Settings, load_settings

TFS = "SAGEMAKER_TFS_"
SAGEMAKER = {"sagemaker": True, "host": "0.0.0.0", "port": 8080, "grpc_port": 0, "model_path": "/opt/ml/model"}


@pytest.mark.parametrize("environment", [{}, {"SAGEMAKER_REGION": "x"}, {"AIP_MODE": "PREDICTION"}, {f"{TFS}X": ""}])
def test_elsewhere_nothing_changes(environment):
    assert cloud_settings(environment) == {}


def test_sagemaker():
    assert cloud_settings({"SAGEMAKER_SAFE_PORT_RANGE": "9000-9999"}) == SAGEMAKER
    assert cloud_settings({"SAGEMAKER_BIND_TO_PORT": "9001"}) == SAGEMAKER | {"port": 9001}
    assert cloud_settings({"SAGEMAKER_BIND_TO_PORT": "8080", "SAGEMAKER_MULTI_MODEL": "false"}) == SAGEMAKER
    several = cloud_settings({"SAGEMAKER_MULTI_MODEL": "true"})
    assert several == SAGEMAKER | {"sagemaker_multi_model": True, "allowed_roots": "/opt/ml/models"}
    triton = cloud_settings({"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": "m"})
    assert triton == SAGEMAKER | {"container_model": "m", "container_api": "oip"}


def test_what_the_container_of_tensorflow_serving_reads():
    environment = {
        "DEFAULT_MODEL_NAME": "m",
        "ENABLE_BATCHING": "true",
        "MAX_BATCH_SIZE": "16",
        "BATCH_TIMEOUT_MICROS": "1500",
        "NUM_BATCH_THREADS": "4",
        "MAX_ENQUEUED_BATCHES": "10",
        "INTER_OP_PARALLELISM": "2",
        "INTRA_OP_PARALLELISM": "3",
        "FRACTIONAL_GPU_MEM_MARGIN": "0.2",
        "INSTANCE_COUNT": "2",
        "WAIT_TIME_SECONDS": "300",
    }
    found = cloud_settings({TFS + name: value for name, value in environment.items()})
    assert found == SAGEMAKER | {
        "container_model": "m",
        "container_api": "tfserving",
        "batching": True,
        "max_batch_size": 16,
        "batch_timeout_ms": 1.5,
        "num_batch_threads": 4,
        "max_queue_rows": 160,
        "inter_op_threads": 2,
        "intra_op_threads": 3,
        "gpu_memory_fraction": 0.4,
        "workers": 2,
    }
    assert Settings(**found).batch_timeout_ms == 1.5


def test_vertex():
    environment = {"AIP_HTTP_PORT": "8081", "AIP_HEALTH_ROUTE": "/health/x", "AIP_PREDICT_ROUTE": "/predict/x"}
    expected = {
        "host": "0.0.0.0",
        "port": 8081,
        "grpc_port": 0,
        "vertex_health_route": "/health/x",
        "vertex_predict_route": "/predict/x",
    }
    assert cloud_settings(environment) == expected
    assert cloud_settings(environment | {"AIP_STORAGE_URI": "gs://bucket/x"}) == expected
    for given in ("/models/m", "file:///models/m"):
        assert cloud_settings(environment | {"AIP_STORAGE_URI": given}) == expected | {"model_path": "/models/m"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_BIND_TO_PORT", "-1"),
        ("SAGEMAKER_BIND_TO_PORT", "9" * 5000),
        ("SAGEMAKER_MULTI_MODEL", "perhaps"),
        (f"{TFS}ENABLE_BATCHING", "yes!"),
        (f"{TFS}MAX_BATCH_SIZE", "1.5"),
        (f"{TFS}BATCH_TIMEOUT_MICROS", "²"),
        (f"{TFS}MAX_ENQUEUED_BATCHES", "x"),
        (f"{TFS}FRACTIONAL_GPU_MEM_MARGIN", "x"),
        (f"{TFS}FRACTIONAL_GPU_MEM_MARGIN", "1"),
        (f"{TFS}FRACTIONAL_GPU_MEM_MARGIN", "nan"),
        ("AIP_HTTP_PORT", "eighty"),
    ],
)
def test_a_variable_that_cannot_be_is_named(name, value):
    with pytest.raises(InvalidRequestError, match=f"^{name} must"):
        cloud_settings({name: value})


def test_what_is_said_otherwise_is_heard_first(monkeypatch, tmp_path):
    clouds = cloud_settings({"SAGEMAKER_BIND_TO_PORT": "8080"})
    file = tmp_path / "settings.toml"
    file.write_text('host = "10.0.0.1"\n')
    monkeypatch.setenv("MODEL_PATH", "/srv/models")
    settings = load_settings(file, defaults=clouds, port=1234)
    assert (settings.port, settings.host, str(settings.model_path)) == (1234, "10.0.0.1", "/srv/models")
    assert settings.sagemaker

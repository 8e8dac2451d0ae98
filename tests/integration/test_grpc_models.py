"""What clients ask about models over gRPC, and how they have the list of models replaced; the profiler's client."""

import shutil
import threading

import grpc
import numpy as np
import pytest
from native_server import RunningServer
from serving_clients import ServingClient
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
END = get_model_status_pb2.ModelVersionStatus.END
ONE = {"x": np.float32([[1.0]])}
TOKEN = "secret"


@pytest.fixture(scope="module")
def client(serving_server):
    with ServingClient(serving_server.grpc_address) as client:
        yield client


def refusal(call, *args, **options):
    with pytest.raises(grpc.RpcError) as refused:
        call(*args, **options)
    return refused.value.code().name, refused.value.details()


def states(client, model, **spec):
    return [(each.version, each.state) for each in client.status(model, **spec)]


def test_the_status_of_versions(client):
    assert states(client, "two_versions") == [(2, AVAILABLE), (1, AVAILABLE)]
    assert states(client, "two_versions", version=1) == [(1, AVAILABLE)]
    [status] = client.status("half_plus_two")
    assert status.version == 123
    assert status.HasField("status")
    assert (status.status.error_code, status.status.error_message) == (0, "")


def test_there_is_no_status(client):
    assert refusal(client.status, "foo") == ("NOT_FOUND", "Could not find any versions of model foo")
    assert refusal(client.status, "two_versions", version=9) == (
        "NOT_FOUND",
        "Could not find version 9 of model two_versions",
    )
    assert refusal(client.status, "") == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    missing = get_model_status_pb2.GetModelStatusRequest().SerializeToString()
    assert refusal(client.send, "GetModelStatus", missing, "ModelService") == ("INVALID_ARGUMENT", "Missing ModelSpec")


@pytest.mark.parametrize(
    ("model", "version"), [("half_plus_two", "00000123"), ("half_plus_two_tf2", "1"), ("defaults", "1"), ("mixed", "1")]
)
def test_signatures_are_those_of_the_file(client, serving_repository, model, version):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = serving_repository / model / version / "saved_model.pb"
    expected = SavedModel.FromString(file.read_bytes()).meta_graphs[0].signature_def
    assert client.signature_defs(model) == dict(expected)
    assert ("__saved_model_init_op" in expected) == (model != "half_plus_two")


def test_the_metadata_say_whose_they_are(client):
    spec = client.metadata("two_versions", "signature_def", version=1).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("two_versions", 1, "")


def test_signatures_of_other_formats(client):
    [definition] = client.signature_defs("tflite").values()
    assert definition.method_name == "tensorflow/serving/predict"
    for infos, name in ((definition.inputs, "x"), (definition.outputs, "y")):
        assert infos[name].dtype == 1
        assert [dim.size for dim in infos[name].tensor_shape.dim] == [-1, 1]


def test_there_are_no_metadata(client):
    for fields, text in {
        (): "GetModelMetadataRequest must specify at least one metadata_field",
        ("signature_def", "X"): "Metadata field X is not supported",
    }.items():
        assert refusal(client.metadata, "half_plus_two", *fields) == ("INVALID_ARGUMENT", text)
    assert refusal(client.metadata, "foo", "signature_def") == (
        "NOT_FOUND",
        "Servable not found for request: Latest(foo)",
    )


def test_the_profilers_client_gets_a_trace(tf, client, serving_server, tmp_path):
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    done = threading.Event()

    def ask():
        while not done.is_set():
            client.predict("half_plus_two", ONE)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        address = f"grpc://{serving_server.grpc_address}"
        tf.profiler.experimental.client.trace(address, str(tmp_path), 500, num_tracing_attempts=1)
    finally:
        done.set()
        asking.join()
    [file] = tmp_path.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    names = {event.name for plane in space.planes for event in plane.event_metadata.values()}
    assert "SessionRun" in names, names


class Reloading:
    """A server that begins with nothing, and its client."""

    def __init__(self, server, client, root):
        self.server = server
        self.client = client
        self.root = root

    def request(self, *names, **entries):
        """The models ``names`` as they lie under the root; ``entries`` are further fields of each, by name."""
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.SetInParent()
        for name in names:
            entry = request.config.model_config_list.config.add()
            entry.name, entry.base_path, entry.model_platform = name, str(self.root / name), "tensorflow"
            for field, value in entries.items():
                if isinstance(value, dict):
                    getattr(entry, field).update(value)
                elif isinstance(value, str):
                    setattr(entry, field, value)
                else:
                    getattr(entry, field).CopyFrom(value)
        return request

    def reload(self, *names, **entries):
        return self.send(self.request(*names, **entries))

    def send(self, request):
        return self.client.reload(request, authorization=f"Bearer {TOKEN}")

    def refusal(self, *names, **entries):
        return refusal(self.reload, *names, **entries)


@pytest.fixture(scope="module")
def reloading(serving_repository, tmp_path_factory):
    root = tmp_path_factory.mktemp("reloading") / "models"
    root.mkdir()
    for name in ("half_plus_two", "half_plus_three", "two_versions"):
        shutil.copytree(serving_repository / name, root / name)
    config = root / "models.config"
    config.write_text("")
    options = ("--grpc-port", -1, "--model-config-file", config, "--allowed-roots", root, "--settle-s", 0)
    options += ("--load-attempts", 1, "--no-probe", "--grpc-profiler")
    with RunningServer(root / "elsewhere", *options, TENSORHOST_ADMIN_TOKEN=TOKEN) as server:
        server.wait_for("ready")
        with ServingClient(server.grpc_address) as client:
            yield Reloading(server, client, root)
        assert server.stop() == 0


def test_the_list_replaces_what_was_served(reloading):
    client = reloading.client
    response = reloading.reload("half_plus_two", "two_versions")
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert client.outputs("half_plus_two", ONE)["y"] == 2.5
    assert states(client, "two_versions")[0] == (2, AVAILABLE)
    reloading.reload("half_plus_three")
    assert client.outputs("half_plus_three", ONE)["y"] == 3.5
    assert refusal(client.predict, "half_plus_two", ONE) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(half_plus_two)",
    )
    assert states(client, "half_plus_two") == [(123, END)]
    reloading.reload()
    assert refusal(client.predict, "half_plus_three", ONE)[0] == "NOT_FOUND"


def test_a_reload_tells_how_counters_have_grown(reloading):
    reloading.reload()
    request = reloading.request("half_plus_two")
    request.metric_names.extend(["/tensorflow/cc/saved_model/load_attempt_count", "/no/such"])
    loads, unknown = reloading.send(request).metric
    assert (loads.name, loads.int64_value_increase) == ("/tensorflow/cc/saved_model/load_attempt_count", 1)
    assert (unknown.name, unknown.WhichOneof("value_increase")) == ("/no/such", None)


def test_policies_and_labels(reloading):
    client = reloading.client
    entry = reloading.request("two_versions").config.model_config_list.config[0]
    entry.model_version_policy.specific.versions.extend([1, 2])
    reloading.reload("two_versions", model_version_policy=entry.model_version_policy, version_labels={"stable": 1})
    assert states(client, "two_versions") == [(2, AVAILABLE), (1, AVAILABLE)]
    assert client.predict("two_versions", ONE, label="stable").model_spec.version.value == 1
    code, text = reloading.refusal("two_versions", version_labels={"stable": 7})
    assert code == "FAILED_PRECONDITION"
    assert text == (
        "Request to assign label to version 7 of model two_versions, which is not currently available for inference"
    )
    assert client.predict("two_versions", ONE, label="stable").model_spec.version.value == 1


def test_a_list_that_cannot_be_served_changes_nothing(reloading):
    reloading.reload("half_plus_two")
    for names, entries, code, text in [
        (("a", "a"), {}, "INVALID_ARGUMENT", "Illegal to list model a multiple times in config list"),
        (("a",), {"model_platform": "caffe"}, "INVALID_ARGUMENT", "Model a requests unsupported platform caffe"),
        (("a",), {"base_path": "a"}, "INVALID_ARGUMENT", "have an absolute path or URI; got base_path()=a"),
        (("a",), {"base_path": "/etc"}, "PERMISSION_DENIED", "must lie under the model path or an allowed root"),
        (("a",), {"base_path": f"{reloading.root}/../.."}, "PERMISSION_DENIED", "must lie under"),
    ]:
        refused = reloading.refusal(*names, **entries)
        assert refused[0] == code
        assert text in refused[1]
    assert refusal(reloading.send, model_management_pb2.ReloadConfigRequest())[0] == "INVALID_ARGUMENT"
    assert reloading.client.outputs("half_plus_two", ONE)["y"] == 2.5


def test_a_model_that_fails_is_said_and_the_others_serve(reloading):
    broken = reloading.root / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"\x08\x01")
    code, text = reloading.refusal("half_plus_three", "broken")
    assert code == "UNKNOWN"
    assert text.startswith("1 servable(s) did not become available: {{name: broken version: 1} due to error: ")
    assert reloading.client.outputs("half_plus_three", ONE)["y"] == 3.5
    [status] = reloading.client.status("broken")
    assert status.state == END
    assert status.status.error_code
    assert status.status.error_message


def test_no_request_fails_while_lists_and_versions_change(reloading):
    client = reloading.client
    reloading.reload("half_plus_two", "two_versions")
    failures, answers, done = [], set(), threading.Event()

    def ask():
        while not done.is_set():
            try:
                answers.add(float(client.outputs("two_versions", ONE)["y"][0, 0]))
                client.predict("half_plus_two", ONE)
            except grpc.RpcError as error:
                failures.append(error)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(2):
            policy = reloading.request("m").config.model_config_list.config[0].model_version_policy
            policy.specific.versions[:] = [1]
            reloading.reload("two_versions", "half_plus_two", "half_plus_three")
            one = reloading.request("two_versions", "half_plus_two")
            one.config.model_config_list.config[0].model_version_policy.CopyFrom(policy)
            reloading.send(one)
            reloading.reload("two_versions", "half_plus_two")
    finally:
        done.set()
        for thread in asking:
            thread.join()
    assert not failures
    assert answers == {2.5, 3.5}


def test_only_holders_of_the_token_control(reloading):
    request = reloading.request("half_plus_two")
    for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
        assert refusal(reloading.client.reload, request, **given)[0] == "UNAUTHENTICATED"
    for method in ("Profile", "Terminate"):
        call = reloading.client.channel.unary_unary(f"/tensorflow.ProfilerService/{method}")
        assert refusal(call, b"")[0] == "UNAUTHENTICATED"

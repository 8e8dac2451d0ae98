"""Every route and every RPC of the server with the role it needs: one that is missing here fails, and so does a role
that is not kept."""

import re

import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import UnauthenticatedError
from tensorhost.frontends import oip
from tensorhost.frontends.authorisation import authorise_rpc
from tensorhost.frontends.containers import ContainerApp
from tensorhost.frontends.dashboard import Dashboard
from tensorhost.frontends.native import NativeApp
from tensorhost.frontends.oip.rest.targets import Api as OipApi
from tensorhost.frontends.rpc import Role, RpcContext
from tensorhost.frontends.tfserving import RequestLog, RestApp
from tensorhost.frontends.tfserving.rest.targets import Api as ServingApi
from tensorhost.frontends.tfserving.rest.targets import find_target
from tensorhost.inference import Alone
from tensorhost.server.applications import Applications
from tensorhost.server.methods import Methods

INFER, CONTROL = Role.INFER, Role.CONTROL
TOKEN = "sesame"
EVERYTHING = {
    "grpc_profiler": True,
    "sagemaker_multi_model": True,
    "vertex_health_route": "/vertex/health",
    "vertex_predict_route": "/vertex/predict",
    "tfserving_metrics_path": "/monitoring",
}

NATIVE = {
    "POST /predict": INFER,
    "POST /batch-predict": INFER,
    "GET /health": INFER,
    "GET /health/ready": INFER,
    "GET /health/live": INFER,
    "GET /readyz": INFER,
    "GET /healthz": INFER,
    "GET /metrics": INFER,
    "GET /models": INFER,
    "GET /models/one": INFER,
    "GET /models/one/versions/one": INFER,
    "GET /openapi.json": INFER,
    "GET /docs": INFER,
    "POST /models/one/load": CONTROL,
    "POST /models/one/unload": CONTROL,
    "POST /models/one/labels": CONTROL,
}
DASHBOARD = {
    "GET /": INFER,
    "GET /dashboard/server": INFER,
    "GET /dashboard/models": INFER,
    "GET /dashboard/errors": INFER,
    "GET /dashboard/history": INFER,
    "GET /dashboard/events": INFER,
    "GET /dashboard/one": INFER,
}
SERVING = {
    "GET /v1/models": INFER,
    "GET /v1/models/one": INFER,
    "GET /v1/models/one/metadata": INFER,
    "POST /v1/models/one:predict": INFER,
    "POST /v1/models/one:classify": INFER,
    "POST /v1/models/one:regress": INFER,
    "GET /monitoring": INFER,
}
OPEN_INFERENCE = {
    "GET /v2": INFER,
    "GET /v2/health/live": INFER,
    "GET /v2/health/ready": INFER,
    "GET /v2/models": INFER,
    "GET /v2/models/stats": INFER,
    "GET /v2/models/{name}[/versions/{version}]": INFER,
    "GET /v2/models/{name}[/versions/{version}]/ready": INFER,
    "GET /v2/models/{name}[/versions/{version}]/config": INFER,
    "GET /v2/models/{name}[/versions/{version}]/stats": INFER,
    "POST /v2/models/{name}[/versions/{version}]/infer": INFER,
    "POST /v2/models/{name}[/versions/{version}]/generate": INFER,
    "POST /v2/models/{name}[/versions/{version}]/generate_stream": INFER,
    "POST /v2/repository[/{repository}]/index": INFER,
    "POST /v2/repository[/{repository}]/models/{name}/load": CONTROL,
    "POST /v2/repository[/{repository}]/models/{name}/unload": CONTROL,
    "GET /v2[/models/{name}]/trace/setting": INFER,
    "POST /v2[/models/{name}]/trace/setting": CONTROL,
    "GET /v2/logging": INFER,
    "POST /v2/logging": CONTROL,
    "GET /v2/systemsharedmemory[/region/{region}]/status": INFER,
    "POST /v2/systemsharedmemory/region/{region}/register": CONTROL,
    "POST /v2/systemsharedmemory[/region/{region}]/unregister": CONTROL,
    "GET /v2/cudasharedmemory[/region/{region}]/status": INFER,
    "POST /v2/cudasharedmemory/region/{region}/register": CONTROL,
    "POST /v2/cudasharedmemory[/region/{region}]/unregister": CONTROL,
}
CLOUDS = {
    "GET /ping": INFER,
    "POST /invocations": INFER,
    "GET /vertex/health": INFER,
    "POST /vertex/predict": INFER,
    "POST /models/one/invoke": INFER,
    "GET /models": CONTROL,
    "POST /models": CONTROL,
    "GET /models/one": CONTROL,
    "DELETE /models/one": CONTROL,
}
RPCS = {
    "tensorflow.serving.PredictionService/Predict": INFER,
    "tensorflow.serving.PredictionService/Classify": INFER,
    "tensorflow.serving.PredictionService/Regress": INFER,
    "tensorflow.serving.PredictionService/MultiInference": INFER,
    "tensorflow.serving.PredictionService/GetModelMetadata": INFER,
    "tensorflow.serving.ModelService/GetModelStatus": INFER,
    "tensorflow.serving.ModelService/HandleReloadConfigRequest": CONTROL,
    "tensorflow.ProfilerService/Profile": CONTROL,
    "tensorflow.ProfilerService/Terminate": CONTROL,
    "inference.GRPCInferenceService/ModelInfer": INFER,
    "inference.GRPCInferenceService/ModelStreamInfer": INFER,
    "inference.GRPCInferenceService/ServerLive": INFER,
    "inference.GRPCInferenceService/ServerReady": INFER,
    "inference.GRPCInferenceService/ModelReady": INFER,
    "inference.GRPCInferenceService/ServerMetadata": INFER,
    "inference.GRPCInferenceService/ModelMetadata": INFER,
    "inference.GRPCInferenceService/ModelConfig": INFER,
    "inference.GRPCInferenceService/ModelStatistics": INFER,
    "inference.GRPCInferenceService/RepositoryIndex": INFER,
    "inference.GRPCInferenceService/RepositoryModelLoad": CONTROL,
    "inference.GRPCInferenceService/RepositoryModelUnload": CONTROL,
    "inference.GRPCInferenceService/SystemSharedMemoryStatus": INFER,
    "inference.GRPCInferenceService/SystemSharedMemoryRegister": CONTROL,
    "inference.GRPCInferenceService/SystemSharedMemoryUnregister": CONTROL,
    "inference.GRPCInferenceService/CudaSharedMemoryStatus": INFER,
    "inference.GRPCInferenceService/CudaSharedMemoryRegister": CONTROL,
    "inference.GRPCInferenceService/CudaSharedMemoryUnregister": CONTROL,
    "inference.GRPCInferenceService/TraceSetting": INFER,
    "inference.GRPCInferenceService/LogSettings": INFER,
    "grpc.health.v1.Health/Check": INFER,
    "grpc.health.v1.Health/List": INFER,
    "grpc.health.v1.Health/Watch": INFER,
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": INFER,
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": INFER,
}


class Server:
    """All applications and methods of a server that others can reach, with an admin token."""

    def __init__(self, **settings):
        bench = EngineBench(host="0.0.0.0", admin_token=TOKEN, **(EVERYTHING | settings))
        chosen, group = bench.manager.settings, Alone(bench.manager)
        request_log = RequestLog(bench.manager, chosen)
        open_inference = oip.OpenInference(bench.engine, chosen, group)
        self.dashboard = Dashboard(bench.manager, chosen, group).routes()
        self.native = NativeApp(bench.engine, chosen, group, self.dashboard)
        rest = RestApp(bench.engine, chosen, group, request_log)
        self.inner = Applications(self.native, rest, oip.RestApp(open_inference), chosen)
        self.clouds = ContainerApp(self.inner, bench.manager, chosen, group)
        self.rpcs = Methods(bench.engine, chosen, group, request_log, open_inference)._rpcs()
        self.settings = chosen


async def status_of(app, method, path, *, token=""):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    sent = []
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return sent[0]["status"]


def examples(path):
    """Paths of a route, with and without what may be left out."""
    whole = re.sub(r"\{(version)\}", "1", path)
    whole = re.sub(r"\{\w+\}", "one", whole)
    return {re.sub(r"\[[^\]]*\]", "", whole), whole.replace("[", "").replace("]", "")}


def routes_of(routes):
    """Method and an example path of each, HEAD left out."""
    found = set()
    for route in routes:
        path = re.sub(r"\(\?P<\w+>[^)]*\)", "one", route.pattern.pattern).strip("^$").replace(r"\.", ".")
        found |= {f"{method} {path}" for method in route.methods if method != "HEAD"}
    return found


async def test_no_route_is_missing_here():
    server = Server()
    inference = {f"POST {path}" for path in server.native.inference_paths}
    assert routes_of(server.native._routes) | inference == NATIVE.keys() | DASHBOARD.keys()
    assert routes_of(server.dashboard) == DASHBOARD.keys()
    assert {f"{api.method} {api.path}" for api in OipApi} == OPEN_INFERENCE.keys()
    assert {f"{method} {path.replace('{name}', 'one')}" for method, path in server.clouds.routes} == CLOUDS.keys()
    targets = [find_target(*route.split(" ")) for route in SERVING if " /v1/" in route]
    assert {target.api for target in targets} == set(ServingApi)


async def test_no_rpc_is_missing_here():
    assert {rpc.path[1:]: rpc.role for rpc in Server().rpcs} == RPCS


@pytest.mark.parametrize("name", ["NATIVE", "DASHBOARD", "SERVING", "OPEN_INFERENCE", "CLOUDS"])
async def test_every_route_keeps_its_role(name):
    server = Server(oip_shared_memory=True)
    app = server.clouds if name == "CLOUDS" else server.inner
    for route, role in globals()[name].items():
        method, path = route.split(" ")
        for example in examples(path):
            if example == "/dashboard/events":
                continue  # Never ends.
            answers = [await status_of(app, method, example, token=token) for token in ("", "wrong", TOKEN)]
            refused = [status in (401, 403) for status in answers]
            assert refused == ([True, True, False] if role is CONTROL else [False] * 3), (method, example, answers)
            assert 405 not in answers


async def test_rpcs_that_control_want_the_token():
    settings = Server().settings
    authorise_rpc(settings, RpcContext(metadata={"authorization": f"Bearer {TOKEN}"}))
    with pytest.raises(UnauthenticatedError):
        authorise_rpc(settings, RpcContext())

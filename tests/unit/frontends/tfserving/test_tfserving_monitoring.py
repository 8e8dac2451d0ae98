from prometheus_client.parser import text_string_to_metric_families
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.monitoring import render
from tensorhost.frontends.tfserving.serving_metrics import Entrypoint, ServingMetrics


def lines_of(bench: EngineBench) -> list[str]:
    return render(bench.manager.metrics.view()).decode().splitlines()


async def test_calls_under_tensorflow_servings_names() -> None:
    bench = EngineBench()
    name = next(iter(bench.manager.models()))
    metrics = ServingMetrics(bench.manager)
    metrics.record(name, "predict", Entrypoint.REST, RpcStatus.OK, 0.000_015)
    metrics.record(name, "Predict", Entrypoint.GRPC, RpcStatus.DEADLINE_EXCEEDED, 1.0)
    metrics.record_runtime(name, "Predict", 0.000_011)
    metrics.record_examples(name, 3)
    bench.manager.metrics.serving_calls.count_logged(name, "dropped", 2)
    lines = lines_of(bench)
    serving = ":tensorflow:serving:"
    assert f"# TYPE {serving}request_count counter" in lines
    assert f'{serving}request_count{{model_name="{name}",status="OK"}} 1' in lines
    assert f'{serving}request_count{{model_name="{name}",status="DEADLINE_EXCEEDED"}} 1' in lines
    labels = f'model_name="{name}",API="predict",entrypoint="REST"'
    assert f'{serving}request_latency_bucket{{{labels},le="10"}} 0' in lines
    assert f'{serving}request_latency_bucket{{{labels},le="18"}} 1' in lines
    assert f'{serving}request_latency_bucket{{{labels},le="+Inf"}} 1' in lines
    assert f"{serving}request_latency_sum{{{labels}}} 15" in lines
    assert f"{serving}request_latency_count{{{labels}}} 1" in lines
    assert not any('entrypoint="GRPC"' in line for line in lines), "only calls that went well have a latency"
    labels = f'model_name="{name}",API="Predict",runtime="TF1"'
    assert f"{serving}runtime_latency_count{{{labels}}} 1" in lines
    assert f'{serving}request_example_count_total{{model="{name}"}} 3' in lines
    assert f'{serving}request_log_count{{model_name="{name}",status_code="RESOURCE_EXHAUSTED"}} 2' in lines
    assert f"{serving}batching_session:wrapped_run_count{{}} 0" in lines


async def test_names_that_clients_invent_share_a_label() -> None:
    bench = EngineBench()
    metrics = ServingMetrics(bench.manager)
    for index in range(100):
        metrics.record(f'x"{index}', "predict", Entrypoint.REST, RpcStatus.NOT_FOUND, 0.1)
    metrics.record("", "status", Entrypoint.REST, RpcStatus.OK, 0.1)
    counts = [line for line in lines_of(bench) if line.startswith(":tensorflow:serving:request_count{")]
    assert counts == [
        ':tensorflow:serving:request_count{model_name="_unknown",status="NOT_FOUND"} 100',
        ':tensorflow:serving:request_count{model_name="",status="OK"} 1',
    ]


async def test_prometheus_reads_it_and_ours_behind_it() -> None:
    bench = EngineBench()
    name = next(iter(bench.manager.models()))
    ServingMetrics(bench.manager).record(name, "predict", Entrypoint.REST, RpcStatus.OK, 0.001)
    families = {family.name for family in text_string_to_metric_families(render(bench.manager.metrics.view()).decode())}
    assert {":tensorflow:serving:request_latency", "tensorhost_requests", "tensorhost_uptime_seconds"} <= families
    assert ":tensorflow:cc:saved_model:load_attempt_count" in families

from tensorhost.core.errors import CANONICAL, ErrorCode, InternalError, InvalidRequestError, OverloadedError
from tensorhost.frontends.rpc import RpcError, RpcStatus
from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.statuses import RPC_STATUS, as_rpc_error
from tensorhost.inference import code_of


def test_every_code_has_the_status_of_its_canonical_one():
    assert RPC_STATUS.keys() == set(ErrorCode)
    assert all(status.name == CANONICAL[code].value for code, status in RPC_STATUS.items())
    assert RpcStatus.OK not in RPC_STATUS.values()


def test_an_error_keeps_its_words_and_gets_its_status():
    failure = as_rpc_error(OverloadedError("Full."))
    assert (failure.status, failure.message) == (RpcStatus.UNAVAILABLE, "Full.")
    assert as_rpc_error(InvalidRequestError("Bad.")).status is RpcStatus.INVALID_ARGUMENT


def test_what_nobody_foresaw_is_kept_from_the_client():
    failure = as_rpc_error(ValueError("/secret/path"))
    assert failure.status is RpcStatus.INTERNAL
    assert "secret" not in failure.message
    assert as_rpc_error(MemoryError()).status is RpcStatus.RESOURCE_EXHAUSTED


def test_a_fault_keeps_its_status_and_is_counted_under_its_code():
    fault = faults.unknown_signature("foo")
    assert as_rpc_error(fault) is fault
    assert isinstance(fault, RpcError)
    assert code_of(fault) is ErrorCode.SIGNATURE_NOT_FOUND
    assert (fault.status, fault.message) == (
        RpcStatus.FAILED_PRECONDITION,
        'Serving signature key "foo" not found.',
    )
    assert faults.unknown_servable("foo", None).status is RpcStatus.NOT_FOUND
    assert code_of(InternalError("x")) is ErrorCode.INTERNAL


def test_faults_say_what_tensorflow_serving_says():
    texts = {
        faults.missing_model_spec(): "Missing ModelSpec",
        faults.unnamed_model(): "ModelSpec has no name specified.",
        faults.unknown_servable("foo", None): "Servable not found for request: Latest(foo)",
        faults.unknown_servable("foo", 99): "Servable not found for request: Specific(foo, 99)",
        faults.unknown_label("foo"): "Unrecognized servable version label: foo",
        faults.unknown_example_signature("foo"): "No signature was found with the name: foo",
        faults.unknown_task_signature("foo"): "Requested signature not found in model graph: foo",
        faults.wrong_number_of_inputs([], ["x"]): (
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."
        ),
        faults.wrong_number_of_inputs(["z", "a", "x"], ["y", "x"]): (
            "input size does not match signature: 3!=2 len({a,x,z}) != len({x,y}). "
            "Sent extra: {a,z}. Missing but required: {y}."
        ),
        faults.input_not_given("x", "x:0", ["z"], []): (
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {z}, or default input alias set: "
        ),
        faults.wrong_dtype(0, "float", "int32"): "Expects arg[0] to be float but int32 is provided",
        faults.unknown_output("z", ["y"]): (
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}."
        ),
        faults.duplicate_output("y"): "duplicate output tensor alias: y",
        faults.no_examples(): "Input is empty.",
        faults.no_metadata_field(): "GetModelMetadataRequest must specify at least one metadata_field",
        faults.unknown_metadata_field("X"): "Metadata field X is not supported",
        faults.no_versions("foo", None): "Could not find any versions of model foo",
        faults.no_versions("foo", 9): "Could not find version 9 of model foo",
        faults.duplicate_signature("foo"): "Duplicate evaluation of signature: foo",
    }
    for fault, text in texts.items():
        assert fault.message == text

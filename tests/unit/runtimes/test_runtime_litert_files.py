"""Files that are damaged, hostile or odd: what is said of them before LiteRT sees them."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tflite_models
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorhost.core.errors import ModelFailedError, TensorhostError, UnsupportedModelError
from tensorhost.runtimes import FindingKind, LoadOptions, examine, load
from tensorhost.runtimes.litert import flatbuffer, model_file
from tensorhost.runtimes.litert.consistency import check_model, weights_bytes
from tensorhost.runtimes.litert.contents import examine_tflite
from tensorhost.runtimes.litert.flexbuffer import read_map
from tensorhost.runtimes.litert.metadata import metadata_names
from tensorhost.runtimes.litert.model_file import parse_model, read_model_file
from tensorhost.runtimes.litert.operators import builtin_name
from tensorhost.runtimes.litert.signatures import bind_signatures

ONE_THREAD = LoadOptions(intra_op_threads=1)
OP = schema.BuiltinOperator
ABSOLUTE = tflite_models.absolute().build()
RECURRENT = tflite_models.recurrent().build()


def examined(data):
    model = parse_model(data)
    check_model(model)
    return model


def names(flat):
    (bound, *_), _ = bind_signatures(examined(flat.build()), dequantize=False)
    return [port.spec.name for port in bound.inputs], [port.spec.name for port in bound.outputs]


def chain(*tensors):
    """ABS from tensor to tensor, by name."""
    flat = tflite_models.Flat()
    for name in tensors:
        flat.tensor(name)
    for index in range(len(tensors) - 1):
        flat.operator(OP.ABS, [index], [index + 1])
    return flat.ports([0], [len(tensors) - 1])


def test_the_names_of_operations_are_the_schemas():
    known = {value: name for name, value in vars(OP).items() if isinstance(value, int)}
    assert [builtin_name(code) for code in sorted(known)] == [known[code] for code in sorted(known)]
    assert builtin_name(5000) == "BUILTIN_5000"


@pytest.mark.parametrize(("tensor", "public"), [
    ("serving_default_image:0", "image"),
    ("image:0", "image"),
    ("dense/Relu;dense/MatMul;dense/BiasAdd", "dense/Relu"),
    ("serving_default_dense/x;y:3", "dense/x"),
    ("", "input_0"),
    ("StatefulPartitionedCall:1", "StatefulPartitionedCall"),
])  # fmt: skip
def test_tensors_names_are_shortened(tensor, public):
    assert names(chain(tensor, "y"))[0] == [public]


def test_names_that_would_clash_stay_whole_and_clashing_ones_are_numbered():
    flat = tflite_models.Flat()
    for name in ("serving_default_a:0", "serving_default_a:1", "c;1", "c;2", "same", "same"):
        flat.tensor(name)
    assert names(flat.ports([0, 1], [0, 1])) == (["a:0", "a:1"],) * 2
    assert names(flat.ports([2, 3], [2, 3])) == (["c;1", "c;2"],) * 2
    assert names(flat.ports([4, 5], [4, 5])) == (["input_0", "input_1"], ["output_0", "output_1"])


def test_names_come_from_metadata_where_there_is_any():
    described = chain("x", "y").describe(tflite_models.metadata(["image"], ["scores"]))
    assert names(described) == (["image"], ["scores"])


@pytest.mark.parametrize("metadata", [
    tflite_models.metadata(["a", "b"], ["c", "d"]),
    tflite_models.metadata([""], [" "]),
    tflite_models.metadata(["a"], ["b"], magic=b"M999"),
    tflite_models.metadata(["a"], ["b"])[:40],
    b"",
    b"\xff" * 30,
    b"\xff\xff\xff\xffM001",
    struct.pack("<I4s", 8, b"M001") + bytes(8),
])  # fmt: skip
def test_metadata_that_does_not_fit_is_passed_over(metadata):
    assert names(chain("x", "y").describe(metadata)) == (["x"], ["y"])


def test_signatures_of_the_file_go_before_metadata():
    flat = chain("x", "y").describe(tflite_models.metadata(["image"], ["scores"])).signature("s", {"a": 0}, {"b": 1})
    assert names(flat) == (["a"], ["b"])


@given(st.binary(max_size=60))
def test_metadata_never_raises(data):
    assert metadata_names(data[:4] + b"M001" + data[4:]) is not None


def test_the_default_signature_is_first_and_shapes_are_free_where_the_file_says():
    flat = tflite_models.absolute(shape=(1, 5, 2), signature=[-1, 5, -1])
    flat.signature("other", {"x": 0}, {"y": 1}).signature("serving_default", {"x": 0}, {"y": 1})
    bound, refused = bind_signatures(examined(flat.build()), dequantize=False)
    assert [found.signature.name for found in bound] == ["serving_default", "other"]
    assert bound[0].signature.inputs["x"].shape == (None, 5, None)
    assert refused == {}


def two_inputs():
    flat = tflite_models.Flat()
    for name in "abcd":
        flat.tensor(name)
    flat.operator(OP.MAXIMUM, [0, 1], [2])
    flat.operator(OP.ABS, [2], [3])
    return flat.ports([0, 1], [3])


@pytest.mark.parametrize(("inputs", "outputs", "reason"), [
    ({"a": 0}, {"d": 3}, "leaves an input of its graph without a value"),
    ({"a": 0, "b": 1, "c": 2}, {"d": 3}, "names a tensor that is no input or output"),
    ({"a": 0, "b": 1}, {"c": 2}, "names a tensor that is no input or output"),
    ({"a": 0, "b": 1, "again": 1}, {"d": 3}, "two of its inputs are one tensor"),
    ({"a": 0, "b": 1}, {}, "has no outputs"),
    ({"a": 0, "": 1}, {"d": 3}, "has no name"),
])  # fmt: skip
def test_signatures_that_cannot_be_served_say_why(tmp_path, inputs, outputs, reason):
    path = tmp_path / "m.tflite"
    path.write_bytes(two_inputs().signature("bad", inputs, outputs).build())
    with pytest.raises(ModelFailedError, match=f"No signature can be served: 'bad': .*{reason}") as caught:
        load(path, ONE_THREAD)
    assert list(caught.value.details["refused"]) == ["bad"]


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "float8_e5m2", "resource", "variant"])
def test_types_that_no_request_can_carry(dtype):
    bound, refused = bind_signatures(examined(tflite_models.identity(dtype).build()), dequantize=False)
    assert not bound
    assert dtype in refused["serving_default"]


def test_a_file_that_is_none(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL2" + bytes(40))
    with pytest.raises(ModelFailedError, match="does not begin as one"):
        read_model_file(path)
    with pytest.raises(ModelFailedError, match="cannot be read") as caught:
        read_model_file(tmp_path / "absent.tflite")
    assert str(tmp_path) not in caught.value.message


def test_a_file_over_two_gigabytes(tmp_path, monkeypatch):
    path = tmp_path / "m.tflite"
    path.write_bytes(ABSOLUTE)
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", len(ABSOLUTE) - 1)
    with pytest.raises(UnsupportedModelError, match="larger than 2 GB"):
        load(path, ONE_THREAD)


def broken(change, flat=None):
    flat = flat or two_inputs()
    change(flat)
    return flat.build()


def set_to(value, *path):
    """A change of one attribute deep in the model."""

    def change(flat):
        target = flat.model
        for step in path[:-1]:
            target = target[step] if isinstance(step, int) else getattr(target, step)
        setattr(target, path[-1], value)

    return change


TENSOR = ("subgraphs", 0, "tensors", 1)
FIRST = ("subgraphs", 0, "operators", 0)


@pytest.mark.parametrize(("change", "said"), [
    (set_to([], "subgraphs"), "it holds no graph"),
    (set_to(99, *TENSOR, "type"), "tensor 1 of graph 0 has the unknown element type 99"),
    (set_to(7, *TENSOR, "buffer"), "refers to buffer 7, which is not there"),
    (set_to([2, -3], *TENSOR, "shape"), "impossible shape"),
    (set_to([1] * 100, *TENSOR, "shape"), "impossible shape"),
    (set_to([2**20, 2**20], *TENSOR, "shape"), f"would have {2**40} elements"),
    (set_to([1, 2, 3], *TENSOR, "shapeSignature"), "two shapes that do not fit"),
    (set_to([-2, 2], *TENSOR, "shapeSignature"), "two shapes that do not fit"),
    (set_to([0, 9], "subgraphs", 0, "inputs"), "an input of graph 0 refers to tensor 9"),
    (set_to([-1], "subgraphs", 0, "outputs"), "an output of graph 0 refers to tensor -1"),
    (set_to([0], "subgraphs", 0, "inputs"), r"operation 0 of graph 0 \(MAXIMUM\) reads tensor 1 before it is computed"),
    (set_to([0, 44], *FIRST, "inputs"), "operation 0 of graph 0 (MAXIMUM) refers to tensor 44"),
    (set_to([-1, 0], *FIRST, "inputs"), "lacks an input"),
    (set_to([-1], *FIRST, "outputs"), "refers to tensor -1"),
    (set_to([3], *FIRST, "outputs"), "reads tensor 2 before it is computed"),
    (set_to([0], *FIRST, "outputs"), "writes tensor 0, which something else gives"),
    (set_to([5], *FIRST, "intermediates"), "refers to tensor 5"),
    (set_to(5, *FIRST, "opcodeIndex"), "an operation has no kind"),
    (set_to([], "subgraphs", 0, "operators"), "nothing computes output tensor 3 of graph 0"),
])  # fmt: skip
def test_indices_shapes_and_order_are_checked(change, said):
    with pytest.raises(ModelFailedError, match=said.replace("(", r"\(").replace(")", r"\)").replace("\\\\", "\\")):
        examined(broken(change))


def test_signatures_indices_are_checked():
    with pytest.raises(ModelFailedError, match="signature 's' belongs to graph 3"):
        examined(two_inputs().signature("s", {"a": 0}, {"d": 3}, subgraph=3).build())
    with pytest.raises(ModelFailedError, match="signature 's' refers to tensor 9"):
        examined(two_inputs().signature("s", {"a": 9}, {"d": 3}).build())


def test_quantisation_is_checked():
    flat = tflite_models.absolute(dtype="int8", scale=(0.5, -129))
    with pytest.raises(ModelFailedError, match="zero point outside its element type"):
        examined(flat.build())


def constant(content, shape, dtype):
    flat = tflite_models.Flat()
    flat.tensor("x", shape, dtype)
    flat.tensor("c", shape, dtype, constant=content)
    flat.tensor("y", shape, dtype)
    flat.operator(OP.ADD, [0, 1], [2])
    return flat.ports([0], [2])


def strings(*offsets, count=None, text=b"abc"):
    return struct.pack(f"<{len(offsets) + 1}i", len(offsets) - 1 if count is None else count, *offsets) + text


@pytest.mark.parametrize(("content", "shape", "dtype"), [
    (bytes(8), (3,), "float32"),
    (bytes(16), (3,), "float32"),
    (bytes(2), (2, 2), "int8"),
    (bytes(1), (3,), "int4"),
    (b"\0", (1,), "string"),
    (strings(16, 17, 19, count=5), (2,), "string"),
    (strings(16, 17, 99), (2,), "string"),
    (strings(16, 19, 17), (2,), "string"),
    (strings(0, 17, 19), (2,), "string"),
    (strings(16, 17, 19), (3,), "string"),
    (strings(16, 17, 19, count=2**31 - 1), (2,), "string"),
])  # fmt: skip
def test_constants_are_as_large_as_their_shape(content, shape, dtype):
    with pytest.raises(ModelFailedError, match="tensor 1 of graph 0"):
        examined(constant(content, shape, dtype).build())


@pytest.mark.parametrize(("content", "shape", "dtype"), [
    (bytes(12), (3,), "float32"),
    (bytes(2), (3,), "int4"),
    (bytes(4), (), "float32"),
    (b"", (0, 4), "float32"),
    (strings(16, 17, 19), (2,), "string"),
])  # fmt: skip
def test_constants_that_are(content, shape, dtype):
    assert weights_bytes(examined(constant(content, shape, dtype).build())) == len(content)


def calling(called):
    flat = tflite_models.absolute()
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = called
    flat.tensor("z")
    flat.operator(OP.WHILE, [1], [2], options=options, kind=schema.BuiltinOptions.WhileOptions)
    flat.ports([0], [2])
    flat.graph().tensor("a")
    return flat.ports([0], [0])


@pytest.mark.parametrize(("called", "said"), [
    ((1, 0), "call each other in a circle"),
    ((2, 1), "graph 0 calls graph 2, which is not there"),
    ((-2, 1), "graph 0 calls graph -2"),
])  # fmt: skip
def test_calls_between_graphs_are_checked(called, said):
    with pytest.raises(ModelFailedError, match=said):
        examined(calling(called).build())


def test_graphs_may_call_others_but_not_for_ever_deep():
    assert examined(calling((1, 1)).build())
    flat = tflite_models.Flat()
    for depth in range(1, 80):
        options = schema.CallOnceOptionsT()
        options.initSubgraphIndex = depth
        flat.operator(OP.CALL_ONCE, [], [], options=options, kind=schema.BuiltinOptions.CallOnceOptions)
        flat.graph()
    with pytest.raises(ModelFailedError, match="more than 64 deep"):
        examined(flat.build())


def test_options_that_promise_other_outputs_than_there_are():
    flat = tflite_models.Flat()
    flat.tensor("axis", (), "int32", constant=np.zeros((), np.int32))
    for name in "xyz":
        flat.tensor(name)
    options = schema.SplitOptionsT()
    options.numSplits = 2
    flat.operator(OP.SPLIT, [0, 1], [2, 3], options=options, kind=schema.BuiltinOptions.SplitOptions)
    assert examined(flat.ports([1], [2, 3]).build())
    options.numSplits = 200
    with pytest.raises(ModelFailedError, match="promises 200 outputs and has 2"):
        examined(flat.build())
    flat.main.operators[0].builtinOptions, flat.main.operators[0].builtinOptionsType = None, 0
    with pytest.raises(ModelFailedError, match=r"\(SPLIT\) has no options"):
        examined(flat.build())


@pytest.mark.parametrize(("operator", "inputs", "enough"), [
    (OP.ABS, [0], True), (OP.ABS, [], False), (OP.ABS, [-1], False),
    (OP.ADD, [0, 0], True), (OP.ADD, [0], False), (OP.ADD, [0, -1], False),
    (OP.CONV_2D, [0, 0, -1], True), (OP.CONV_2D, [0, -1, 0], False),
    (OP.CONCATENATION, [0], True), (OP.CONCATENATION, [0, 0, -1], False),
    (OP.RESHAPE, [0], True), (OP.RESHAPE, [0, -1], False),
    (OP.VAR_HANDLE, [], True), (OP.CUSTOM, [-1], True), (OP.STABLEHLO_IOTA, [], True), (250, [], True),
])  # fmt: skip
def test_operations_have_the_inputs_that_litert_takes_for_granted(operator, inputs, enough):
    flat = tflite_models.Flat()
    flat.tensor("x")
    flat.tensor("y")
    flat.operator(operator, inputs, [1], custom=b"C")
    data = flat.ports([0], [1]).build()
    if enough:
        assert examined(data)
    else:
        with pytest.raises(ModelFailedError, match="lacks an input"):
            examined(data)


def test_weights_in_other_files_are_refused():
    flat = tflite_models.absolute()
    group = schema.ExternalBufferGroupT()
    group.name = b"/etc/passwd"
    flat.model.externalBufferGroups = [group]
    with pytest.raises(UnsupportedModelError, match="keeps weights in other files"):
        parse_model(flat.build())
    flat = tflite_models.absolute()
    flat.main.tensors[0].externalBuffer = 3
    with pytest.raises(UnsupportedModelError, match="keeps weights in other files"):
        parse_model(flat.build())


def test_operations_that_crash_litert_without_their_options():
    with pytest.raises(ModelFailedError, match=r"\(TFLite_Detection_PostProcess\) has no options"):
        examined(tflite_models.custom("TFLite_Detection_PostProcess").build())
    assert examined(tflite_models.custom("Sparkle").build())


def overlapping(graphs, name_bytes):
    """``graphs`` references to one and the same graph, which has nothing but a name."""
    head = struct.pack("<I4sHHHHHxxiI", 20, b"TFL3", 10, 8, 0, 0, 4, 12, 4)
    graph_at = 32 + 4 * graphs + 16
    references = [graph_at - position for position in range(32, 32 + 4 * graphs, 4)]
    table = struct.pack("<HHHHHHHxxiI", 14, 8, 0, 0, 0, 0, 4, 16, 4)
    return (
        head
        + struct.pack(f"<{graphs + 1}I", graphs, *references)
        + table
        + struct.pack("<I", name_bytes)
        + bytes(name_bytes + 1).replace(b"\0", b"n", name_bytes)
    )


def test_parts_that_overlap_are_not_read_for_ever(monkeypatch):
    assert len(parse_model(overlapping(3, 5)).subgraphs) == 3
    with pytest.raises(ModelFailedError, match="its parts overlap"):
        parse_model(overlapping(10_000, 100_000))
    monkeypatch.setattr(flatbuffer, "_MOST_TABLES", 50)
    with pytest.raises(ModelFailedError, match="more than 50 parts"):
        parse_model(overlapping(60, 5))


def test_a_name_ends_where_it_says():
    whole = overlapping(1, 5)
    assert parse_model(whole)
    for changed in (whole[:-1], whole[:-1] + b"x", whole[:-3] + b"\0" + whole[-2:]):
        with pytest.raises(ModelFailedError, match="damaged"):
            parse_model(changed)


@pytest.mark.parametrize("whole", [ABSOLUTE, RECURRENT])
def test_no_part_of_a_file_is_enough(whole):
    for size in range(8, len(whole) - 4):
        try:
            examined(whole[:size])
        except ModelFailedError as error:
            assert "damaged" in error.message  # noqa: PT017  # a few cuts leave a whole model


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([ABSOLUTE, RECURRENT]), st.data())
def test_whatever_is_overwritten_the_file_reads_or_is_called_damaged(whole, data):
    position = data.draw(st.integers(0, len(whole) - 4))
    value = data.draw(st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-4, len(whole))))
    changed = bytearray(whole)
    struct.pack_into("<i", changed, position, value)
    try:
        bind_signatures(examined(bytes(changed)), dequantize=True)
    except ModelFailedError as error:
        assert error.message.endswith(".")  # noqa: PT017  # either is right


@given(st.binary(max_size=200))
def test_any_bytes_are_damaged(data):
    with pytest.raises(ModelFailedError):
        examined(b"\x08\0\0\0TFL3" + data)


def test_flipped_and_cut_files_do_not_end_the_process(tmp_path):
    """In a process of its own. Whether LiteRT survives every flip is the probe's business; these are those it does."""
    (tmp_path / "whole.tflite").write_bytes(RECURRENT)
    code = f"""
        from pathlib import Path
        import numpy as np
        from tensorhost.core.errors import TensorhostError
        from tensorhost.runtimes.base import LoadOptions
        from tensorhost.runtimes.litert.loader import load_tflite

        path = Path({str(tmp_path / "changed.tflite")!r})
        whole = Path({str(tmp_path / "whole.tflite")!r}).read_bytes()
        flips = [whole[:at] + bytes([whole[at] ^ 0x81]) + whole[at + 1:] for at in range(0, len(whole), 5)]
        cuts = [whole[:size] for size in range(0, len(whole), 23)]
        clean = answers = 0
        for data in flips + cuts:
            path.write_bytes(data)
            try:
                load_tflite(path, LoadOptions(intra_op_threads=1))
                answers += 1
            except TensorhostError:
                clean += 1
        print(clean > 100, answers > 20, clean + answers == len(flips) + len(cuts))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "True"]


def test_contents_tell_operations_parameters_and_custom_operations(tmp_path):
    flat = constant(np.zeros(3, np.float32), (3,), "float32")
    flat.operator(OP.CUSTOM, [2], [flat.tensor("z", (3,))], custom=b"Spark\nle")
    flat.operator(OP.CUSTOM, [3], [flat.tensor("s", (3,))], custom=b"Spark\nle")
    flat.operator(OP.CUSTOM, [4], [flat.tensor("m", (3,))], custom=b"Mfcc").customOptions = [1, 2, 3]
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.ports([0], [5]).build())
    contents = examine_tflite(path, LoadOptions())
    assert contents == examine(path, ONE_THREAD)
    assert contents.operations == {"Spark\nle": 2, "ADD": 1, "Mfcc": 1}
    assert contents.parameters == 3
    (finding,) = contents.findings
    assert (finding.kind, finding.subject, finding.count) == (FindingKind.UNKNOWN_CODE, "Spark?le", 2)


def test_contents_of_a_damaged_file(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(ABSOLUTE[: len(ABSOLUTE) // 2])
    with pytest.raises(TensorhostError, match="damaged"):
        examine_tflite(path, LoadOptions())


SERVING = "signature_defs_metadata"


def serving_definition(inputs, outputs):
    """A serialized SignatureDef that names tensors by public name."""
    from tensorhost.codecs.protobuf import message_class

    definition = message_class("tensorflow.SignatureDef")()
    for infos, ports in ((definition.inputs, inputs), (definition.outputs, outputs)):
        for name, tensor in ports.items():
            infos[name].name = tensor
    return definition.SerializeToString()


def with_serving_metadata(flat, entries):
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in entries.items():
            builder.Key(key)
            builder.Blob(value) if isinstance(value, bytes) else builder.Add(value)
    return flat.describe(bytes(builder.Finish()), SERVING)


def signatures_of(flat):
    bound, refused = bind_signatures(examined(flat.build()), dequantize=False)
    return {each.signature.name: (list(each.signature.inputs), list(each.signature.outputs)) for each in bound}, refused


def test_signatures_in_metadata_for_tensorflow_serving():
    entries = {
        "serving_default": serving_definition({"number": "a:0"}, {"size": "b"}),
        "other": serving_definition({"x": "a"}, {"y": "b:0"}),
    }
    flat = with_serving_metadata(chain("a", "b:0"), entries)
    assert signatures_of(flat) == ({"serving_default": (["number"], ["size"]), "other": (["x"], ["y"])}, {})


def test_the_files_own_signatures_come_first():
    flat = with_serving_metadata(chain("a", "b"), {"other": serving_definition({"x": "a"}, {"y": "b"})})
    assert signatures_of(flat.signature("own", {"in": 0}, {"out": 1}))[0] == {"own": (["in"], ["out"])}


def test_what_is_wrong_in_that_metadata_costs_only_itself(caplog):
    entries = {
        "lost": serving_definition({"x": "elsewhere"}, {"y": "b"}),
        "kept": serving_definition({"x": "a"}, {"y": "b"}),
        "number": 7,
    }
    assert signatures_of(with_serving_metadata(chain("a", "b"), entries))[0] == {"kept": (["x"], ["y"])}
    assert "signature 'lost' in the metadata names tensors that the model does not have" in caplog.text
    plain = {"serving_default": (["a"], ["b"])}
    assert signatures_of(with_serving_metadata(chain("a", "b"), {"x": b"\xff\xff"}))[0] == plain
    assert signatures_of(chain("a", "b").describe(b"", SERVING))[0] == plain
    for content in (b"\x00", b"\x00\x00\x00", b"\x05\x24\x01", b"\xff" * 64, b"\x01\x26\x08"):
        assert signatures_of(chain("a", "b").describe(content, SERVING))[0] == plain


@given(st.binary(min_size=1, max_size=24), st.integers(0, 2**16))
def test_damaged_flexbuffers_are_errors_and_never_long_work(noise, place):
    builder = flexbuffers.Builder()
    with builder.Map():
        for key in ("serving_default", "another"):
            builder.Key(key)
            builder.Blob(serving_definition({"x": "a"}, {"y": "b"}))
    whole = bytearray(builder.Finish())
    place %= len(whole)
    whole[place : place + len(noise)] = noise
    try:
        found = read_map(bytes(whole))
    except ValueError:
        return
    assert sum(map(len, found.values())) <= 4 * len(whole)


@given(st.dictionaries(st.text("abcdef_", min_size=1, max_size=8), st.binary(max_size=400), max_size=40))
def test_flexbuffers_as_the_library_writes_them(entries):
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in entries.items():
            builder.Key(key)
            builder.Blob(value)
    assert read_map(bytes(builder.Finish())) == dict(sorted(entries.items()))

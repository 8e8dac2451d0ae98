"""What a graph could do, told before it runs: real SavedModels, tampered ones, and hostile graphs."""

from __future__ import annotations

import re
import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes import FindingKind, LoadOptions, examine
from tensorhost.runtimes.tensorflow.capabilities import CAPABILITIES, HARMLESS
from tensorhost.runtimes.tensorflow.graph_contents import examine_graph

SUSPICIOUS = """
    address addresses descriptor dir directories directory dirs file filename filenames files folder host hostname
    logdir module path paths pattern patterns port prefix prefixes protocol server socket target targets uri url urls
    writer
"""
SUSPICIOUS_WORDS = frozenset(SUSPICIOUS.split())
SUSPICIOUS_NAMES = re.compile(
    "Abort|Collective|Debug|Dump|EventFile|PyFunc|Reader|Recv|Remote|Restore|Rpc|Save|Send|Service|Snapshot|Socket|"
    "Sql|Summary|Write|XlaC|Mlir"
)

HARMLESS_NAMES = """
    ApproxTopK AudioSummary AudioSummaryV2 BoostedTreesExampleDebugOutputs BoostedTreesFlushQuantileSummaries
    BoostedTreesMakeQuantileSummaries BoostedTreesMakeStatsSummary BoostedTreesQuantileStreamResourceAddSummaries
    CTCBeamSearchDecoder CloseSummaryWriter CudnnRNNBackpropV2 CudnnRNNBackpropV3 DebugGradientIdentity
    DebugGradientRefIdentity DebugNumericSummaryV2 DeleteRpcFutureResource ExperimentalIgnoreErrorsDataset
    ExperimentalSetStatsAggregatorDataset ExperimentalStatsAggregatorSummary HistogramSummary IdentityReader
    IdentityReaderV2 ImageSummary InTopK InTopKV2 MergeSummary ReaderNumRecordsProduced ReaderNumRecordsProducedV2
    ReaderNumWorkUnitsCompleted ReaderNumWorkUnitsCompletedV2 ReaderRead ReaderReadUpTo ReaderReadUpToV2 ReaderReadV2
    ReaderReset ReaderResetV2 ReaderRestoreState ReaderRestoreStateV2 ReaderSerializeState ReaderSerializeStateV2
    RegexFullMatch RegexReplace ScalarSummary SetStatsAggregatorDataset Snapshot SnapshotNestedDatasetReader
    StaticRegexFullMatch StaticRegexReplace StatsAggregatorSummary SummaryWriter TensorArrayWrite TensorArrayWriteV2
    TensorArrayWriteV3 TensorSliceDataset TensorSummary TensorSummaryV2 _FusedConv2D _FusedQuantizedConv2D
    _FusedQuantizedDepthwiseConv2D _QuantizedMatMul
"""
COMPUTES_ONLY = frozenset(HARMLESS_NAMES.split())
"""Gone through by hand: the argument or the name only sounds as if. Readers hand on what the ones that open files read,
summaries are encoded and not written, a TensorArray is memory."""

ACCELERATORS = re.compile(
    "TPU|_Xla|XlaHost|XlaS|XlaR|XlaC(?!ustomCall|allModule)|Nccl|Outfeed|Infeed|DTensor|_Mkl|__Mkl"
)
"""Operations of devices that the CPU build has no kernels for, or with names alone of the words above."""


@pytest.fixture(scope="module")
def registered(tf):
    """Every operation TensorFlow registers, by name."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    operations = op_def_pb2.OpList()
    operations.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {operation.name: operation for operation in operations.op}


def arguments_of(operation):
    return [argument.name for argument in (*operation.input_arg, *operation.attr)]


def test_every_operation_that_sounds_like_files_or_networks_has_been_gone_through(registered):
    assert len(registered) > 1500
    unknown = {
        name
        for name, operation in registered.items()
        if SUSPICIOUS_NAMES.search(name)
        or any(SUSPICIOUS_WORDS & set(argument.lower().split("_")) for argument in arguments_of(operation))
        if name not in CAPABILITIES and name not in COMPUTES_ONLY and not ACCELERATORS.search(name)
    }
    assert unknown == set()


def test_the_table_names_real_operations_and_real_arguments(registered):
    for name, capability in CAPABILITIES.items():
        assert name in registered, name
        assert not capability.argument or capability.argument in arguments_of(registered[name]), name
    assert HARMLESS.keys() <= CAPABILITIES.keys()
    assert COMPUTES_ONLY.issubset(registered.keys() - CAPABILITIES.keys())


def kinds(contents):
    return {finding.subject: finding.kind for finding in contents.findings}


def explanations(contents):
    return {finding.subject: finding.explanation for finding in contents.findings}


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["half_plus_two", "counter", "strings", "assets", "loop", "casts", "embeddings"])
def test_models_that_only_compute_have_no_findings(models, options, name):
    contents = examine(models / name, options)
    assert contents.findings == ()
    assert sum(contents.operations.values()) > 0
    assert list(contents.operations.values()) == sorted(contents.operations.values(), reverse=True)


def test_models_of_tensorflow_1_with_assets_and_tables_have_no_findings(tf1_models, options):
    folders = [folder for folder in sorted(tf1_models.iterdir()) if folder.name != "no_serve"]
    assert len(folders) > 2
    for folder in folders:
        assert examine(folder, options).findings == (), folder.name


def test_parameters_are_variables_and_constants_that_can_be_weights(models, options):
    assert examine(models / "half_plus_two", options).parameters == 2
    assert examine(models / "edges", options).parameters == 4 + 1000
    assert examine(models / "assets", options).parameters == 0
    assert examine(models / "pointwise", options).parameters == 24 * 28 + 28


def test_a_file_that_the_request_names(models, options):
    contents = examine(models / "shapes", options)
    assert kinds(contents) == {"ReadFile": FindingKind.READS_FILES}
    assert contents.findings[0].count == 1
    assert "comes with the request" in contents.findings[0].explanation


@pytest.fixture(scope="module")
def doers(tf, tmp_path_factory):
    """SavedModels that do more than compute, by name of their folder."""
    root = tmp_path_factory.mktemp("doers")
    spec = tf.TensorSpec([None], tf.float32, name="x")

    def save(name, function, module=None, **signatures):
        decorated = tf.function(function, input_signature=[spec])
        tf.saved_model.save(
            module or tf.Module(), str(root / name), signatures={"serving_default": decorated} | signatures
        )

    def writes(x):
        tf.io.write_file("/var/tmp/out.txt", tf.strings.as_string(x[0]))
        tf.print("seen", output_stream="file:///var/tmp/log.txt")
        return {"y": x}

    save("writes", writes)

    def prints(x):
        tf.print("seen", x)
        return {"y": x}

    save("prints", prints)

    @tf.function
    def inner(name):
        return tf.io.read_file(tf.identity(name))

    @tf.function
    def outer(name):
        return inner(name), tf.io.read_file(tf.strings.join([name, ".bak"]))

    def nested(x):
        first, second = outer(tf.constant("/etc/hostname"))
        return {"y": x, "first": first, "second": second}

    save("nested", nested)

    kept = tf.Module()
    kept.file = tf.Variable("/etc/hostname")

    def by_variable(x):
        kept.file.assign("/etc/passwd")
        return {"y": x, "read": tf.io.read_file(kept.file.read_value())}

    save("variable", by_variable, kept)

    def python(x):
        return {"y": tf.py_function(lambda value: value, [x], tf.float32)}

    save("python", python)

    def datasets(x):
        lines = tf.data.TextLineDataset("/etc/hostname")
        raw = tf.raw_ops.TFRecordDataset(
            filenames=["/etc/hostname", "/etc/passwd"], compression_type="", buffer_size=tf.constant(0, tf.int64)
        )
        cached = tf.data.Dataset.range(3).cache()
        return {
            "y": x,
            "lines": lines.reduce(tf.constant(0), lambda count, _: count + 1),
            "raw": tf.raw_ops.DatasetCardinality(input_dataset=raw),
            "cached": cached.reduce(tf.constant(0), lambda count, _: count + 1),
        }

    save("datasets", datasets)

    def looped(x):
        last = tf.while_loop(
            lambda i, _: i < 2, lambda i, _: (i + 1, tf.constant("/etc/passwd")), (0, tf.constant("a"))
        )
        return {"y": x, "read": tf.io.read_file(last[1])}

    save("looped", looped)
    return root


def test_files_written_are_named(doers, options):
    contents = examine(doers / "writes", options)
    assert explanations(contents) == {
        "PrintV2": "Writes 'file:///var/tmp/log.txt'.",
        "WriteFile": "Writes '/var/tmp/out.txt'.",
    }
    assert set(kinds(contents).values()) == {FindingKind.WRITES_FILES}


def test_printing_to_the_log_writes_no_file(doers, options):
    assert examine(doers / "prints", options).findings == ()


def test_a_constant_is_followed_through_calls_of_functions(doers, options):
    contents = examine(doers / "nested", options)
    assert explanations(contents) == {
        "ReadFile": "Reads a file whose name is made up while the model runs and '/etc/hostname'."
    }
    assert contents.findings[0].count == 2


def test_a_constant_is_followed_through_variables(doers, options):
    explanation = explanations(examine(doers / "variable", options))["ReadFile"]
    assert "'/etc/passwd'" in explanation
    assert "made up" in explanation  # the checkpoint has a say in it as well


def test_what_a_loop_may_change_is_not_believed_to_be_its_first_value(doers, options):
    assert "made up" in explanations(examine(doers / "looped", options))["ReadFile"]


def test_python_functions_are_found(doers, options):
    contents = examine(doers / "python", options)
    assert kinds(contents) == {"EagerPyFunc": FindingKind.RUNS_PYTHON}


def test_datasets_over_files_are_found_and_those_in_memory_are_not(doers, options):
    contents = examine(doers / "datasets", options)
    assert explanations(contents) == {
        "TFRecordDataset": "Reads '/etc/hostname' and '/etc/passwd'.",
        "TextLineDataset": "Reads a file whose name is made up while the model runs.",
    }


# -- tampered models ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tampered(tf, tmp_path):
    """Copies a SavedModel, changed by a function of its MetaGraphDef."""
    from tensorflow.core.protobuf import saved_model_pb2

    def change(folder, changing):
        copy = tmp_path / folder.name
        shutil.copytree(folder, copy)
        message = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
        changing(message.meta_graphs[0])
        (copy / "saved_model.pb").write_bytes(message.SerializeToString())
        return copy

    return change


def plant(tf, function, operation="WriteFile"):
    """Put an operation that writes a constant into a FunctionDef."""
    for name in ("planted_name", "planted_text"):
        node = function.node_def.add(name=name, op="Const")
        node.attr["dtype"].type = tf.string.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/var/tmp/planted"))
    function.node_def.add(name="planted", op=operation, input=["planted_name:output:0", "planted_text:output:0"])


def test_what_restoring_the_variables_does_is_looked_at(tf, models, options, tampered):
    def change(meta_graph):
        for function in meta_graph.graph_def.library.function:
            if "traced_restore" in function.signature.name:
                plant(tf, function)

    contents = examine(tampered(models / "half_plus_two", change), options)
    assert explanations(contents) == {"WriteFile": "Writes '/var/tmp/planted'."}
    assert "WriteFile" not in contents.operations


def test_what_saving_the_variables_does_is_never_executed(tf, models, options, tampered):
    def change(meta_graph):
        for function in meta_graph.graph_def.library.function:
            if "traced_save" in function.signature.name:
                plant(tf, function)

    assert examine(tampered(models / "half_plus_two", change), options).findings == ()


def test_functions_that_only_the_saved_objects_name_are_looked_at(tf, models, options, tampered):
    def change(meta_graph):
        function = meta_graph.graph_def.library.function.add()
        function.signature.name = "hidden"
        plant(tf, function)
        objects = meta_graph.object_graph_def
        objects.nodes.add().bare_concrete_function.concrete_function_name = "hidden"
        objects.nodes[0].children.add(node_id=len(objects.nodes) - 1, local_name="_initialize")

    contents = examine(tampered(models / "half_plus_two", change), options)
    assert kinds(contents) == {"WriteFile": FindingKind.WRITES_FILES}


def test_other_forms_of_functions_for_other_devices_are_looked_at(tf, models, options, tampered):
    def change(meta_graph):
        function = meta_graph.graph_def.library.function.add()
        function.signature.name = "for_another_device"
        function.attr["api_implements"].s = b"lstm"
        plant(tf, function)

    contents = examine(tampered(models / "half_plus_two", change), options)
    assert kinds(contents) == {"WriteFile": FindingKind.WRITES_FILES}


@pytest.mark.parametrize("filename", ["../../secret.txt", "/etc/passwd", "zero\0byte"])
def test_an_asset_outside_the_model_is_no_asset(models, options, tampered, filename):
    def change(meta_graph):
        meta_graph.asset_file_def[0].filename = filename

    contents = examine(tampered(models / "assets", change), options)
    assert kinds(contents) == {"InitializeTableFromTextFileV2": FindingKind.READS_FILES}


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_an_asset_that_is_a_link_out_of_the_model_is_no_asset(models, options, tampered, tmp_path, linked):
    model = tampered(models / "assets", lambda _: None)
    elsewhere = (model / "assets").rename(tmp_path / "elsewhere")
    if linked == "folder":
        (model / "assets").symlink_to(elsewhere)
    else:
        (model / "assets").mkdir()
        for file in elsewhere.iterdir():
            (model / "assets" / file.name).symlink_to(file)
    (finding,) = examine(model, options).findings
    assert (finding.kind, finding.subject) == (FindingKind.READS_FILES, "InitializeTableFromTextFileV2")
    assert finding.explanation == "Reads a file that the model names and that lies outside its folder."


def test_a_model_that_is_itself_a_link_still_has_its_assets(models, options, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(models / "assets")
    assert kinds(examine(link, options)) == {}


def test_a_signature_that_looks_hidden_is_looked_at(tf, models, options, tampered):
    def change(meta_graph):
        node = meta_graph.graph_def.node.add(name="wanted", op="Const")
        node.attr["dtype"].type = tf.string.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/hostname"))
        meta_graph.graph_def.node.add(name="read", op="ReadFile", input=["wanted"])
        meta_graph.signature_def["__looks_hidden"].outputs["y"].name = "read:0"

    contents = examine(tampered(models / "half_plus_two", change), options)
    assert explanations(contents) == {"ReadFile": "Reads '/etc/hostname'."}


def asset_initialiser(meta_graph):
    return next(f for f in meta_graph.graph_def.library.function if "initializer" in f.signature.name)


def test_a_path_put_into_a_variable_that_cannot_be_told_is_no_asset(tf, models, options, tampered):
    def change(meta_graph):
        function = asset_initialiser(meta_graph)
        plant(tf, function, "AssignVariableOp")  # into what a constant says

    contents = examine(tampered(models / "assets", change), options)
    assert kinds(contents) == {"InitializeTableFromTextFileV2": FindingKind.READS_FILES}


def test_an_initialiser_that_the_saved_objects_call_with_a_constant_is_looked_at(models, options, tampered):
    def change(meta_graph):
        objects = meta_graph.object_graph_def
        objects.nodes.add().constant.operation = "Const_1"
        called = objects.concrete_functions[asset_initialiser(meta_graph).signature.name]
        called.bound_inputs[0] = len(objects.nodes) - 1

    contents = examine(tampered(models / "assets", change), options)
    assert kinds(contents) == {"InitializeTableFromTextFileV2": FindingKind.READS_FILES}


def test_a_function_called_by_another_name_has_arguments_that_cannot_be_told(models, options, tampered):
    def change(meta_graph):
        name = asset_initialiser(meta_graph).signature.name
        outer = meta_graph.graph_def.library.function.add()
        outer.signature.name = "outer"
        for node in meta_graph.graph_def.node:
            if node.attr["f"].func.name == name:
                node.attr["f"].func.name = "outer"
                node.attr["f"].func.attr["g"].func.name = name

    contents = examine(tampered(models / "assets", change), options)
    assert kinds(contents) == {"InitializeTableFromTextFileV2": FindingKind.READS_FILES}


def test_a_saved_model_in_text_form_is_read_alike(tf, models, options, tmp_path):
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    folder = tmp_path / "text"
    shutil.copytree(models / "half_plus_two", folder)
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (folder / "saved_model.pb").unlink()
    (folder / "saved_model.pbtxt").write_text(text_format.MessageToString(message), encoding="utf-8")
    assert examine(folder, options) == examine(models / "half_plus_two", options)


# -- graphs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def graph_def(tf):
    return tf.compat.v1.GraphDef()


def constant(tf, graph_def, name, text):
    node = graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))


def test_operations_that_tensorflow_does_not_have_need_a_module(graph_def):
    graph_def.node.add(name="a", op="NormalizeUTF8")
    graph_def.node.add(name="b", op="FromNowhere")
    graph_def.node.add(name="c", op="FromNowhere")
    contents = examine_graph(graph_def)
    assert set(kinds(contents).values()) == {FindingKind.UNKNOWN_CODE}
    assert "tensorflow_text" in explanations(contents)["NormalizeUTF8"]
    assert "--custom-op-library" in explanations(contents)["FromNowhere"]
    assert contents.operations == {"FromNowhere": 2, "NormalizeUTF8": 1}


def test_a_call_by_the_name_of_a_function_is_no_operation(graph_def):
    graph_def.library.function.add().signature.name = "mine"
    graph_def.node.add(name="a", op="mine")
    contents = examine_graph(graph_def)
    assert contents.findings == ()
    assert contents.operations == {}


def test_a_function_cannot_hide_behind_the_name_of_an_operation(graph_def):
    graph_def.library.function.add().signature.name = "WriteFile"
    graph_def.node.add(name="a", op="WriteFile")
    assert kinds(examine_graph(graph_def)) == {"WriteFile": FindingKind.WRITES_FILES}


def test_a_function_named_only_inside_the_name_of_another_is_looked_at(tf, graph_def):
    function = graph_def.library.function.add()
    function.signature.name = "inner"
    plant(tf, function)
    graph_def.library.function.add().signature.name = "outer"
    call = graph_def.node.add(name="call", op="PartitionedCall")
    call.attr["f"].func.name = "outer"
    call.attr["f"].func.attr["g"].func.name = "inner"
    assert kinds(examine_graph(graph_def)) == {"WriteFile": FindingKind.WRITES_FILES}


@pytest.mark.parametrize(("module", "found"), [(b"stablehlo.add", False), (b"ML\xefR custom_call_v1", True)])
def test_compiled_modules_are_let_off_unless_they_call_native_code(graph_def, module, found):
    graph_def.node.add(name="a", op="XlaCallModule").attr["module"].s = module
    contents = examine_graph(graph_def)
    assert bool(contents.findings) is found
    assert not any("ML" in finding.explanation for finding in contents.findings)


@pytest.mark.parametrize(
    ("operation", "attribute", "harmless", "harmful"),
    [
        ("DecodeProtoV2", "descriptor_source", b"local://", b"/etc/descriptors"),
        ("DecodeProtoV2", "descriptor_source", b"bytes://abc", b"local"),
        ("PrintV2", "output_stream", b"stderr", b"file:///var/tmp/x"),
        ("FixedUnigramCandidateSampler", "vocab_file", b"", b"/etc/passwd"),
    ],
)
def test_an_attribute_decides(graph_def, operation, attribute, harmless, harmful):
    graph_def.node.add(name="a", op=operation).attr[attribute].s = harmless
    assert examine_graph(graph_def).findings == ()
    graph_def.node.add(name="b", op=operation).attr[attribute].s = harmful
    assert explanations(examine_graph(graph_def))[operation].endswith(f"'{harmful.decode()}'.")


def test_a_parameter_of_a_function_decides_nothing(graph_def):
    graph_def.node.add(name="a", op="PrintV2").attr["output_stream"].placeholder = "stream"
    assert kinds(examine_graph(graph_def)) == {"PrintV2": FindingKind.WRITES_FILES}


def test_an_attribute_that_the_operation_does_not_have_decides_nothing(tf, graph_def):
    constant(tf, graph_def, "name", "/var/tmp/cache")
    node = graph_def.node.add(name="a", op="CacheDataset", input=["data", "name"])
    node.attr["filename"].s = b""
    assert explanations(examine_graph(graph_def)) == {"CacheDataset": "Writes '/var/tmp/cache'."}


def test_debugging_counts_only_where_it_goes_somewhere(graph_def):
    node = graph_def.node.add(name="a", op="DebugIdentityV3")
    assert examine_graph(graph_def).findings == ()
    node.attr["debug_urls"].list.s.append(b"grpc://10.0.0.1:80")
    assert explanations(examine_graph(graph_def)) == {"DebugIdentityV3": "Exchanges data with 'grpc://10.0.0.1:80'."}


def test_feeding_a_constant_makes_it_the_requests(tf, graph_def):
    constant(tf, graph_def, "name", "/etc/hostname")
    graph_def.node.add(name="read", op="ReadFile", input=["name"])
    assert explanations(examine_graph(graph_def))["ReadFile"] == "Reads '/etc/hostname'."
    explanation = explanations(examine_graph(graph_def, inputs=["name:0"]))["ReadFile"]
    assert explanation == "Reads a file whose name comes with the request."


def test_a_models_own_words_are_cut_short_and_printable(tf, graph_def):
    constant(tf, graph_def, "name", "\x1b[31m" + "a" * 5000)
    graph_def.node.add(name="read", op="ReadFile", input=["name"])
    explanation = explanations(examine_graph(graph_def))["ReadFile"]
    assert explanation.isprintable()
    assert len(explanation) < 150


def test_only_what_the_outputs_need_counts(tf, graph_def):
    constant(tf, graph_def, "name", "/etc/hostname")
    graph_def.node.add(name="read", op="ReadFile", input=["name"])
    graph_def.node.add(name="x", op="Placeholder")
    contents = examine_graph(graph_def, outputs=["x:0"])
    assert contents.findings == ()
    assert contents.operations == {"Placeholder": 1}


def test_long_and_knotted_graphs_are_read_in_time(graph_def):
    length = 30_000
    for index in range(length):
        graph_def.node.add(name=f"n{index}", op="Identity", input=[f"n{(index + 1) % length}"])
    for index in range(2000):
        graph_def.node.add(name=f"read{index}", op="ReadFile", input=[f"n{index}"])
    started = time.monotonic()
    contents = examine_graph(graph_def)
    assert time.monotonic() - started < 10
    assert contents.findings[0].count == 2000
    assert "made up" in contents.findings[0].explanation


def test_more_numbers_than_there_can_be_are_none(tf, graph_def):
    node = graph_def.node.add(name="a", op="VarHandleOp")
    for _ in range(4):
        node.attr["shape"].shape.dim.add(size=2**62)
    assert examine_graph(graph_def).parameters is None


OPERATIONS = """
    Identity Pack ConcatV2 Reshape StringJoin Placeholder VarHandleOp ReadVariableOp AssignVariableOp While If
    PartitionedCall ReadFile WriteFile CacheDataset f g
"""
WIRINGS = st.lists(
    st.tuples(
        st.sampled_from(OPERATIONS.split()),
        st.lists(st.integers(0, 12), max_size=3),
        st.sampled_from(["", "^", ":1", ":output:0", ":99999999999"]),
        st.sampled_from(["f", "g", ""]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outside=WIRINGS, inside=WIRINGS)
def test_any_wiring_is_read_and_every_write_found(tf, outside, inside):
    graph_def = tf.compat.v1.GraphDef()
    function = graph_def.library.function.add()
    function.signature.name = "f"
    function.signature.input_arg.add(name="n0")
    function.signature.output_arg.add(name="result")
    function.ret["result"] = "n1:output:0"
    for nodes, wiring in ((graph_def.node, outside), (function.node_def, inside)):
        for index, (operation, sources, suffix, called) in enumerate(wiring):
            inputs = [f"^n{source}" if suffix == "^" else f"n{source}{suffix}" for source in sources]
            node = nodes.add(name=f"n{index}", op=operation, input=inputs)
            node.attr["f"].func.name = called
    contents = examine_graph(graph_def)
    reached = [*outside, *(inside if any(row[0] == "f" or row[3] == "f" for row in outside) else [])]
    writes = sum(operation == "WriteFile" for operation, *_ in reached)
    assert sum(finding.count for finding in contents.findings if finding.subject == "WriteFile") == writes


def test_a_graph_file_is_read_without_its_values(tf, tmp_path, options):
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 500], name="x")
        tf.matmul(x, tf.constant(1.5, shape=[500, 40]) * tf.ones([500, 40]), name="y")
        tf.io.write_file("/var/tmp/x", "y")
    graph_def = graph.as_graph_def()
    file = tmp_path / "frozen.pb"
    file.write_bytes(graph_def.SerializeToString())
    contents = examine(file, options)
    assert contents == examine_graph(graph_def)
    assert kinds(contents) == {"WriteFile": FindingKind.WRITES_FILES}
    fetched = LoadOptions(1, 1, graph_outputs={"y": "y:0"})
    assert examine(file, fetched).findings == ()


@pytest.mark.parametrize("content", [b"\x0a", b"\x0a\x05abc", b"\x0a\x03\xff\xff\xff", b"\x0a\x02\x08"])
def test_a_damaged_graph_file_is_an_error(tf, tmp_path, options, content):
    file = tmp_path / "frozen.pb"
    file.write_bytes(content)
    with pytest.raises(ModelFailedError, match="damaged"):
        examine(file, options)


def test_a_damaged_saved_model_is_an_error(tmp_path, options):
    (tmp_path / "saved_model.pb").write_bytes(b"\x12\xff\xff\xff")
    with pytest.raises(ModelFailedError, match="damaged"):
        examine(tmp_path, options)

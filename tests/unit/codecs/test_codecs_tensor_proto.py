import warnings
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.unit.codecs.tensor_messages import tensor_bytes

from tensorhost.codecs.protobuf import POOL, message_class
from tensorhost.codecs.tensor_forms import DT_STRING, FORMS
from tensorhost.codecs.tensor_proto import WireTensor, decode_tensor
from tensorhost.codecs.tensor_writing import encode_predict_response
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError
from tensorhost.core.tensors import Array

Tensor: Any = message_class("tensorflow.TensorProto")
LIMIT = 100_000
NUMBERS = [dtype for dtype in DType if not dtype.is_string]
ALL = list(DType)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
DATA_TYPES = {number: form.dtype for number, form in FORMS.items()} | {DT_STRING: DType.STRING}
FIELDS = {form.field for form in FORMS.values()}


def decode(data: bytes, max_elements: int = LIMIT) -> Array:
    return decode_tensor(WireTensor.FromString(data), "x", max_elements=max_elements)


def from_text(text: str) -> Array:
    return decode(text_format.Parse(text, Tensor(), descriptor_pool=POOL).SerializeToString())


def bits_to_array(raw: bytes, dtype: DType, shape: tuple[int, ...]) -> Array:
    """An array whose elements have any bits at all, NaNs with payloads among them; ``raw`` is used over and over."""
    count = int(np.prod(shape))
    if dtype.is_string:
        array = np.empty(count, object)
        array[:] = [raw[index % 7 :][: index % 5] for index in range(count)]
        return array.reshape(shape)
    if dtype in {DType.INT4, DType.UINT4, DType.BOOL}:
        numbers = np.resize(np.frombuffer(raw, np.uint8), count) % (2 if dtype is DType.BOOL else 8)
        return numbers.astype(dtype.numpy).reshape(shape)
    return np.resize(np.frombuffer(raw, np.uint8), count * dtype.numpy.itemsize).view(dtype.numpy).reshape(shape)


def same(one: Array, other: Array) -> bool:
    """Whether two arrays are equal to the last bit."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype == object:
        return bool(one.tolist() == other.tolist())
    if one.dtype in (DType.INT4.numpy, DType.UINT4.numpy):  # the upper half of the byte means nothing
        return bool((one.astype(np.int8) == other.astype(np.int8)).all())
    return one.tobytes() == other.tobytes()


def with_one_nan(array: Array, dtype: DType) -> Array:
    """``array`` with every NaN the usual one: TensorFlow's Python takes numbers through float64 and alters others."""
    if not (dtype.is_floating or dtype.is_complex):
        return array
    array = array.copy()
    parts = array.reshape(-1)
    if dtype.is_complex:
        parts = parts.view(np.float32 if dtype is DType.COMPLEX64 else np.float64)
    with np.errstate(invalid="ignore"):  # a signalling one makes numpy warn
        parts[np.isnan(parts)] = np.nan
    return array


def as_tensorflow_reads(tf: Any, data: bytes, dtype: DType) -> Array | None:
    """What TensorFlow's C++ makes of a serialized TensorProto; None where it refuses."""
    try:
        value = tf.io.parse_tensor(data, tf.as_dtype(dtype.value)).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    array = np.empty((), object) if dtype.is_string and not isinstance(value, np.ndarray) else np.asarray(value)
    if array.shape == () and dtype.is_string:
        array[()] = value
    return array


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("dtype", ALL)
def test_what_is_written_means_the_array_to_tensorflow_and_to_us(tf, dtype, as_content):
    @settings(max_examples=25)
    @given(st.binary(min_size=16, max_size=64), SHAPES)
    @example(bytes(range(64)), (3000,))  # beyond what is written number by number
    @example(b"\xff" * 16, ())
    def check(raw, shape):
        array = bits_to_array(raw, dtype, shape)
        data = tensor_bytes(array, as_content=as_content)
        theirs = as_tensorflow_reads(tf, data, dtype)
        assert theirs is not None
        assert same(theirs, array)
        assert same(decode(data), array)

    check()


@pytest.mark.parametrize("dtype", ALL)
def test_what_tensorflow_writes_is_read(tf, dtype):
    @settings(max_examples=15)
    @given(st.binary(min_size=16, max_size=64), SHAPES)
    def check(raw, shape):
        array = with_one_nan(bits_to_array(raw, dtype, shape), dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow asks numpy in old words
            message = tf.make_tensor_proto(array, tf.as_dtype(dtype.value), shape)
        assert same(decode(message.SerializeToString()), array)

    check()


@st.composite
def tensors(draw: st.DrawFn) -> Any:
    """TensorProtos as anybody might send them: too few or too many values, in the wrong field, content of any size."""
    tensor = Tensor(dtype=draw(st.sampled_from(sorted(DATA_TYPES))))
    for size in draw(st.lists(st.integers(0, 4), max_size=3)):
        tensor.tensor_shape.dim.add(size=size)
    if draw(st.booleans()):
        tensor.tensor_content = draw(st.binary(max_size=40))
    small = st.integers(-300, 300)
    floats = st.floats(width=32)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "int_val": small,
        "int64_val": small,
        "half_val": st.integers(-1, 2**17),
        "uint32_val": st.integers(0, 2**32 - 1),
        "uint64_val": st.integers(0, 2**64 - 1),
        "bool_val": st.booleans(),
        "float_val": floats,
        "double_val": floats,
        "scomplex_val": floats,
        "dcomplex_val": floats,
        "string_val": st.binary(max_size=3),
    }
    wanted = FORMS[tensor.dtype].field if tensor.dtype in FORMS else "string_val"
    for field in {wanted, draw(st.sampled_from(sorted(fields)))}:
        if field == "float8_val":
            tensor.float8_val = draw(st.binary(max_size=20))
        else:
            getattr(tensor, field).extend(draw(st.lists(fields[field], max_size=70)))
    return tensor


def test_tensors_of_all_kinds_are_read_as_tensorflow_reads_them(tf):
    @settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
    @given(tensors())
    def check(tensor):
        data = tensor.SerializeToString()
        theirs = as_tensorflow_reads(tf, data, DATA_TYPES[tensor.dtype])
        if theirs is None:
            with pytest.raises(InvalidRequestError, match=r"\Atensor parsing error: x\Z"):
                decode(data)
        else:
            assert same(decode(data), theirs)

    check()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dtype: DT_FLOAT float_val: 7", np.float32(7)),
        ("dtype: DT_FLOAT tensor_shape { unknown_rank: true } float_val: 7", np.float32(7)),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: [1, 2]", np.float32([1, 2, 2])),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 2 } }", np.float32([0, 0])),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: [1, 2, 3]", np.float32([1, 2])),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 0 } } tensor_content: 'abc'", np.zeros(0, np.float32)),
        ("dtype: DT_INT8 tensor_shape { dim { size: 2 } } int_val: [300, -129]", np.int8([44, 127])),
        (
            "dtype: DT_STRING tensor_shape { dim { size: 3 } } string_val: ['a', 'b']",
            np.array([b"a", b"b", b"b"], object),
        ),
        ("dtype: DT_STRING tensor_shape { dim { size: 2 } }", np.array([b"", b""], object)),
    ],
)
def test_values_and_elements_need_not_be_equally_many(text, expected):
    assert same(from_text(text), np.asarray(expected))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dtype: DT_RESOURCE",
        "dtype: DT_VARIANT",
        "dtype: DT_QINT8 int_val: 1",
        "dtype: DT_FLOAT_REF float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: 0 } dim { size: -1 } }",
        "dtype: DT_FLOAT tensor_shape { dim { size: 1 } } tensor_content: 'abc'",
        "dtype: DT_FLOAT tensor_shape { dim { size: 1 } } tensor_content: 'abcdefgh'",
        "dtype: DT_BOOL tensor_shape { dim { size: 1 } } tensor_content: '\\002'",
        "dtype: DT_STRING tensor_shape { dim { size: 1 } } tensor_content: '\\005ab'",
        "dtype: DT_STRING tensor_shape { dim { size: 1 } } tensor_content: '\\001ab'",
        "dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: '\\200\\200'",
        "dtype: DT_STRING tensor_shape { dim { size: 3 } } tensor_content: '\\001'",
        "dtype: DT_FLOAT tensor_shape { dim { size: 0 } dim { size: 4611686018427387904 } dim { size: 4 } }",
    ],
)
def test_what_is_no_tensor_is_refused(text):
    with pytest.raises(InvalidRequestError) as caught:
        from_text(text)
    assert caught.value.message == "tensor parsing error: x"
    assert caught.value.details["reason"]


def test_a_dtype_that_nobody_knows_is_refused():
    with pytest.raises(InvalidRequestError, match="tensor parsing error: x"):
        decode(b"\x08\xff\x7f")


def test_more_dimensions_than_tensorflow_allows_are_refused_without_multiplying_them():
    tensor = Tensor(dtype="DT_FLOAT", float_val=[1])
    for _ in range(100_000):
        tensor.tensor_shape.dim.add(size=2**62)
    with pytest.raises(InvalidRequestError) as caught:
        decode(tensor.SerializeToString())
    assert caught.value.details["reason"] == "100000 dimensions"


@pytest.mark.parametrize("data_type", sorted(DATA_TYPES))
@pytest.mark.parametrize("sizes", [[LIMIT + 1], [2**31, 2**31, 2**31], [2**62] * 200])
def test_a_size_beyond_the_limit_is_refused_before_anything_is_allocated(data_type, sizes):
    tensor = Tensor(dtype=data_type, float_val=[1], string_val=[b"1"], int_val=[1])
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(PayloadTooLargeError, match=f"'x' has more than {LIMIT} elements"):
        decode(tensor.SerializeToString())


def varints(*values: int) -> bytes:
    data = bytearray()
    for value in values:
        while value >= 0x80:
            data.append(value & 0x7F | 0x80)
            value >>= 7
        data.append(value)
    return bytes(data)


SHAPE_OF_3 = b"\x12\x04\x12\x02\x08\x03"


def test_numbers_may_come_unpacked(tf):
    data = b"\x08\x03" + SHAPE_OF_3 + b"".join(varints(7 << 3, value) for value in (5, 300, 2**64 - 1))
    assert decode(data).tolist() == [5, 300, -1]
    floats = b"\x08\x01" + SHAPE_OF_3 + b"".join(b"\x2d" + np.float32(value).tobytes() for value in (1.5, 2, 3))
    assert decode(floats).tolist() == [1.5, 2, 3]
    for each in (data, floats):
        assert same(decode(each), tf.io.parse_tensor(each, {3: tf.int32, 1: tf.float32}[each[1]]).numpy())


def test_a_packed_list_may_come_in_pieces():
    pieces = [np.float32([1, 2]).tobytes(), b"", np.float32([3]).tobytes()]
    data = b"\x08\x01" + SHAPE_OF_3 + b"".join(b"\x2a" + varints(len(piece)) + piece for piece in pieces)
    assert decode(data).tolist() == [1, 2, 3]


def test_a_shape_may_come_in_pieces():
    data = b"\x08\x01\x12\x04\x12\x02\x08\x02\x12\x04\x12\x02\x08\x03\x2a\x04" + np.float32(1).tobytes()
    assert decode(data).shape == (2, 3)


def test_packed_and_unpacked_numbers_together_have_no_order_and_are_refused():
    data = b"\x08\x03" + SHAPE_OF_3 + b"\x3a\x02\x01\x02" + b"\x38\x03"
    with pytest.raises(InvalidRequestError, match="tensor parsing error"):
        decode(data)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_bytes_of_any_kind_give_a_tensor_or_the_clients_error(data):
    try:
        tensor = WireTensor.FromString(data)
    except Exception:  # noqa: BLE001  # protobuf's own; what it lets through is what matters
        return
    try:
        array = decode_tensor(tensor, "x", max_elements=1000)
    except (InvalidRequestError, PayloadTooLargeError):
        return
    assert array.size <= 1000


def test_a_long_shape_is_not_kept():
    from tensorhost.codecs import tensor_proto

    tensor = Tensor(dtype="DT_FLOAT", float_val=[1])
    tensor.tensor_shape.dim.add(size=1, name="n" * 10_000)
    before = tensor_proto._known_shape.cache_info().currsize
    assert decode(tensor.SerializeToString()).shape == (1,)
    assert tensor_proto._known_shape.cache_info().currsize == before


def test_outputs_become_a_response():
    outputs = {
        "y": np.float32([[1, 2], [3, 4]]),
        "name": np.array([b"a", b"\xff"], object),
        "texts": np.array(["é", ""]),
        "a" * 200: np.arange(1000, dtype=np.int64),
        "reversed": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1],
    }
    spec = message_class("tensorflow.serving.ModelSpec")(name="m", version={"value": 3}, signature_name="s")
    for as_content in (False, True):
        data = encode_predict_response(spec.SerializeToString(), outputs, as_content=as_content)
        response: Any = message_class("tensorflow.serving.PredictResponse").FromString(data)
        assert response.model_spec == spec
        assert set(response.outputs) == set(outputs)
        for name, array in outputs.items():
            expected = np.array(["é".encode(), b""], object) if name == "texts" else array
            assert same(decode(response.outputs[name].SerializeToString()), np.ascontiguousarray(expected))
        y = response.outputs["y"]
        assert (list(y.float_val), bool(y.tensor_content)) == (([], True) if as_content else ([1, 2, 3, 4], False))
        assert list(response.outputs["name"].string_val) == [b"a", b"\xff"]


def test_an_array_that_no_tensor_can_hold_is_refused():
    with pytest.raises(KeyError):
        tensor_bytes(np.array(["2020-01-01"], "datetime64[D]"))

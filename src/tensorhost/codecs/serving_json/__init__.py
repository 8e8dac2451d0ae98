"""JSON as TensorFlow Serving's REST API reads and writes it: its rules, its numbers and its words for what is wrong."""

from tensorhost.codecs.serving_json.answers import encode_classifications, encode_predictions, encode_regressions
from tensorhost.codecs.serving_json.bare_instances import instances_in_lines, instances_in_value
from tensorhost.codecs.serving_json.document import ServingDocument, parse_at_once, parse_document
from tensorhost.codecs.serving_json.examples import read_examples
from tensorhost.codecs.serving_json.strings import decode_base64
from tensorhost.codecs.serving_json.tensors import Layout, decode_predict, signature_name

__all__ = [
    "Layout",
    "ServingDocument",
    "decode_base64",
    "decode_predict",
    "encode_classifications",
    "encode_predictions",
    "encode_regressions",
    "instances_in_lines",
    "instances_in_value",
    "parse_at_once",
    "parse_document",
    "read_examples",
    "signature_name",
]

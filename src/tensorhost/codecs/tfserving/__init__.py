"""JSON as TensorFlow Serving's REST API reads and writes it: its rules, its numbers and its words for what is wrong."""

from tensorhost.codecs.tfserving.answers import encode_classifications, encode_predictions, encode_regressions
from tensorhost.codecs.tfserving.document import ServingDocument, parse_document
from tensorhost.codecs.tfserving.examples import read_examples
from tensorhost.codecs.tfserving.tensors import Layout, decode_predict, signature_name

__all__ = [
    "Layout",
    "ServingDocument",
    "decode_predict",
    "encode_classifications",
    "encode_predictions",
    "encode_regressions",
    "parse_document",
    "read_examples",
    "signature_name",
]

"""Bytes to named tensors and back: JSON requests and responses, encoded images. Pure: no I/O, no clock, no threads."""

from tensorhost.codecs.images import FORMATS as IMAGE_FORMATS
from tensorhost.codecs.images import MAX_PIXELS, Colour, ResizeMethod, decode_image
from tensorhost.codecs.json_document import JsonObject
from tensorhost.codecs.json_response import dumps, encode_outputs
from tensorhost.codecs.json_tensors import decode_inputs

__all__ = [
    "IMAGE_FORMATS",
    "MAX_PIXELS",
    "Colour",
    "JsonObject",
    "ResizeMethod",
    "decode_image",
    "decode_inputs",
    "dumps",
    "encode_outputs",
]

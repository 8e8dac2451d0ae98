"""Protocol buffers without generated code: the .proto files of ``proto/``, compiled to one descriptor set.

``wire.proto`` describes the hot messages a second time so that packed numbers arrive as bytes; decision 0023 says why.
"""

from tensorhost.codecs.protobuf.pool import POOL, message_class
from tensorhost.codecs.protobuf.reading import decode, parse_text

__all__ = ["POOL", "decode", "message_class", "parse_text"]

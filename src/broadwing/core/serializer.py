"""What a wire version has to offer, and the binary opcodes it is carried in."""

from typing import Any, Protocol

from broadwing.core.codec import Body
from broadwing.core.messages import Message

Encoded = tuple[int, bytes]
"""A message ready for a transport: `frames.TEXT` or `frames.BINARY`, and the bytes."""


class Serializer(Protocol):
    """One wire version, without state: the same object serves every connection."""

    version: str

    def decode(self, opcode: int, data: bytes) -> Message:
        """Read a client's message.

        Raises:
            InvalidMessage: The bytes are no message of this version; the connection ends with 1011.
        """
        ...

    def message(self, join_ref: Any, ref: Any, topic: Any, event: str, payload: Any) -> Encoded:
        """Write one of the protocol's own messages, such as `phx_close`."""
        ...

    def reply(self, join_ref: Any, ref: Any, topic: Any, status: str, response: Any) -> Encoded:
        """Write the reply to `ref`; `response` is any JSON value, or `bytes`, `bytearray` or `memoryview`.

        Raises:
            LocalProtocolError: This version cannot carry such a response, or it has no JSON form.
        """
        ...

    def push(self, join_ref: Any, topic: str, event: str, body: Body) -> Encoded:
        """Write a push from a channel to its client.

        Raises:
            LocalProtocolError: This version cannot carry such a payload.
        """
        ...

    def broadcast(self, topic: str, event: str, body: Body) -> Encoded:
        """Write a broadcast, the same bytes for every subscriber.

        Raises:
            LocalProtocolError: This version cannot carry such a payload.
        """
        ...

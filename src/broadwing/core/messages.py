"""Messages between client and server, once they have left the wire and before they enter it."""

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from broadwing.core.codec import Body, decode

if TYPE_CHECKING:
    Field: TypeAlias = Any
    RawPayload: TypeAlias = msgspec.Raw | bytes
else:
    # What msgspec builds the decoders of both wire versions from. Any JSON value may stand in an envelope, but not one that
    # is nested deeper than this: it would be echoed, compared and logged, and each of that could exhaust the stack.
    Scalar = str | int | float | bool | None
    Field = Scalar | list[Scalar] | dict[str, Scalar]
    # Told of `bytes` as well, msgspec would decode those, out of Base64, and refuse everything else.
    RawPayload = msgspec.Raw


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a client sent, in the order of wire version 2.0.0.

    Attributes:
        join_ref: Ref of the join this message belongs to; usually a string or null, at most a list or object of such.
        ref: The client's number for this message, echoed in the reply; the same values.
        topic: Where it goes; a string unless the client is confused.
        event: What happened; a string unless the client is confused.
        payload: Still encoded JSON, or `bytes` when it came in a binary frame.
    """

    join_ref: Field
    ref: Field
    topic: Field
    event: Field
    payload: RawPayload


class Broadcast(msgspec.Struct, frozen=True, gc=False):
    """What subscribers of a topic are sent; `Channel.handle_info` gets it from topics subscribed by hand.

    Attributes:
        topic: The topic it was broadcast on.
        event: The event's name.
        body: The payload as it was encoded, once, by the sender.
    """

    topic: str
    event: str
    body: Body

    @property
    def payload(self) -> Any:
        """The payload decoded: a fresh JSON value at every access, or `bytes`."""
        return self.body.data if self.body.binary else decode(self.body.data)

"""`phx_ref`: the name of a presence's state, by which clients tell which of several metas has left."""

import base64
import time
import zlib
from itertools import count


class Refs:
    """Makes refs that nobody else makes.

    A ref is twelve bytes as URL-safe Base64, sixteen characters: nanoseconds since 1970, a hash of the place, a counter. That the time is
    part of it makes it unique and nothing more: nothing is compared with it.

    Source: phoenix_pubsub `lib/phoenix/tracker/shard.ex`, random_ref.
    """

    def __init__(self, place: str) -> None:
        self._place = (zlib.crc32(place.encode()) & 0xFFFF).to_bytes(2)
        self._count = count()

    def next(self) -> str:
        """Another one."""
        moment = (time.time_ns() & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8)
        number = (next(self._count) & 0xFFFF).to_bytes(2)
        return base64.urlsafe_b64encode(moment + self._place + number).decode()

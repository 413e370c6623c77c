"""The HTTP request that asks for a connection, the same for every transport and server."""

from collections.abc import Callable
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]


class Request:
    """One request, as it came; nothing in it has been checked.

    A transport builds one per connection, so it holds what the server parsed and derives nothing ahead of need.

    Attributes:
        method: `"GET"`, `"POST"`, in the client's case.
        scheme: `"http"` or `"https"`; transports write `ws` as `http` and `wss` as `https`.
        host: Host the client asked for, without port and without the brackets of an IPv6 address.
        port: Port the client asked for, the scheme's default when it named none.
        path: Path with percent-escapes decoded, without the query.
        query: Query string as it came, without `?`.
        headers: Names in lower case, values as they came; order and duplicates are kept.
        peer_cert: The client's TLS certificate in DER form, if it presented one.
    """

    __slots__ = ("_client", "headers", "host", "method", "path", "peer_cert", "port", "query", "scheme")

    def __init__(
        self,
        method: str,
        scheme: str,
        host: str,
        port: int,
        path: str,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        client: Address | Callable[[], Address | None] | None = None,
        peer_cert: bytes | None = None,
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.query = query
        self.headers = headers
        self._client = client
        self.peer_cert = peer_cert

    @property
    def client(self) -> Address | None:
        """Address and port of the peer; `None` where there is none, as on a Unix socket.

        Looked up when it is asked for: few applications do, and it takes three calls of the kernel per connection.
        """
        if callable(self._client):
            self._client = self._client()
        return self._client

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or `None`."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_all(self, name: bytes) -> list[bytes]:
        """Return every value of the header `name` (lower case), in order."""
        return [value for key, value in self.headers if key == name]

    def header_list(self, name: bytes) -> list[str]:
        """Return the elements of a comma-separated header, over all its occurrences.

        Args:
            name: Header name in lower case.

        Returns:
            Elements without surrounding blanks, empty ones left out (RFC 9110 section 5.6.1.2).
        """
        return [
            element
            for key, value in self.headers
            if key == name
            for part in value.decode("latin-1").split(",")
            if (element := part.strip(" \t"))
        ]

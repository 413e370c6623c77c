"""The HTTP request that asks for a connection, the same for every transport and server."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
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
        client: Address and port of the peer; `None` where there is none, as on a Unix socket.
        peer_cert: The client's TLS certificate in DER form, if it presented one.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None = None
    peer_cert: bytes | None = None

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

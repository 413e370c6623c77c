"""Connect parameters: nested values from a query string, names from a path."""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from broadwing.core.quoting import quoted
from broadwing.exceptions import BadRequest, ConfigurationError

# Plug's default; a server's own limit on the request line is usually far lower and comes first.
MAX_QUERY_BYTES = 1_000_000
# A million bytes can hold half a million pairs, each worth a hundred times its bytes once it is a dict entry.
# 1,000 is what PHP and Django settled on against the same attack.
MAX_PAIRS = 1_000
# Rack's limit. Every level costs a dict for two bytes of query and a stack frame to unfold.
MAX_DEPTH = 32

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_VARIABLE = re.compile(r":([A-Za-z_][A-Za-z0-9_]*)")


class _Node:
    """A value under construction: whatever was written below one name.

    `a[]` and `a[b]` may both be written; the one that came last says whether the value is a list or a mapping.
    """

    __slots__ = ("children", "is_list", "items", "mapping")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.items: list[Any] = []
        self.mapping: dict[str, Any] = {}
        self.is_list = False

    def put(self, key: str, value: Any) -> None:
        self.is_list = not key
        if key:
            self.mapping[key] = value
        else:
            self.items.append(value)

    def child(self, key: str) -> "_Node":
        # Only its first mention places a child. `a[b]=1&a=2&a[c]=3` therefore leaves a="2", as in Plug.
        child = self.children.get(key)
        if child is None:
            child = self.children[key] = _Node()
            self.put(key, child)
        return child

    def value(self) -> Any:
        if self.is_list:
            return [item.value() if type(item) is _Node else item for item in self.items]
        return {key: item.value() if type(item) is _Node else item for key, item in self.mapping.items()}


def parse_query(query: bytes) -> dict[str, Any]:
    """Read a query string into parameters, nested by Plug's rules.

    `a=1` gives a string, `a[b]=1` a mapping, `a[]=1&a[]=2` a list, and both may be combined. A name written again
    replaces what it was; within one list element, `a[][b]=1&a[][c]=2` adds to it. `+` is a blank.

    Args:
        query: Query string as it came, without `?`.

    Returns:
        A fresh mapping that belongs to the caller.

    Raises:
        BadRequest: Status 414 for more than 1,000,000 bytes; status 400 for a broken percent-escape, for text that
            is not UTF-8, for more than 1,000 parameters and for more than 32 levels of brackets.

    Source: plug `lib/plug/conn/query.ex`, decode.
    """
    if not query:
        return {}
    if len(query) > MAX_QUERY_BYTES:
        raise BadRequest(f"query string of {len(query)} bytes; at most {MAX_QUERY_BYTES} are read", 414)
    if query.count(b"&") >= MAX_PAIRS:
        raise BadRequest(f"query string with {query.count(b'&') + 1} parameters; at most {MAX_PAIRS} are read")
    try:
        if b"%" not in query and b"+" not in query:
            text = query.decode()
            if "]" not in text:
                return {key: value for key, _, value in [pair.partition("=") for pair in text.split("&") if pair]}
            pairs = [pair.partition("=")[::2] for pair in text.split("&") if pair]
        else:
            if bad := _BAD_ESCAPE.search(query):
                raise BadRequest(
                    f"query string with the broken percent-escape {quoted(query[bad.start() :][:3].decode('latin-1'))}; "
                    "'%' must be followed by two hexadecimal digits, and a literal '%' is written '%25'"
                )
            # Unescaped before it is decoded: one character may be part raw byte, part escape.
            pairs = []
            for pair in query.replace(b"+", b" ").split(b"&"):
                if pair:
                    key, _, value = pair.partition(b"=")
                    pairs.append((unquote_to_bytes(key).decode(), unquote_to_bytes(value).decode()))
    except UnicodeDecodeError as error:
        raise BadRequest(f"query string is not UTF-8 ({error.reason}); text is escaped as UTF-8") from error
    return _nest(pairs)


def _nest(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    roots: dict[str, _Node] = {}
    for key, value in pairs:
        # Brackets count only as `name[...]`: with something before the first and nothing after the last.
        if key[-1:] != "]" or (bracket := key.find("[")) <= 0:
            params[key] = value
            continue
        root = key[:bracket]
        *path, last = key[bracket + 1 : -1].split("][", MAX_DEPTH)
        if len(path) == MAX_DEPTH:
            raise BadRequest(f"query parameter {quoted(root)} is nested deeper than {MAX_DEPTH} levels")
        node = roots.get(root)
        if node is None:
            node = roots[root] = params[root] = _Node()
        for step in path:
            node = node.child(step)
        node.put(last, value)
    if roots:
        return {key: value.value() if type(value) is _Node else value for key, value in params.items()}
    return params


class PathPattern:
    """A mount's path, which may hold variables; made by `compile_path`.

    Attributes:
        template: The path as it was given.
        names: Variables that `match` exposes.
    """

    __slots__ = ("_literal", "_literals", "_size", "_variables", "names", "template")

    def __init__(self, template: str, segments: list[str]) -> None:
        self.template = template
        self._size = len(segments)
        self._literals = [(at, segment) for at, segment in enumerate(segments) if segment[0] != ":"]
        # `:_name` matches any segment and is not exposed.
        self._variables = [(at, seg[1:]) for at, seg in enumerate(segments) if seg[0] == ":" and seg[1] != "_"]
        self._literal = "/" + "/".join(segments) if len(self._literals) == self._size else None
        self.names = tuple(name for _, name in self._variables)

    def __repr__(self) -> str:
        return f"PathPattern({self.template!r})"

    def match(self, path: str) -> dict[str, str] | None:
        """Compare a request's path with this one.

        Empty segments do not count, so `/socket/websocket/` is `/socket/websocket`.

        Args:
            path: Path of the request, percent-escapes decoded.

        Returns:
            A fresh mapping of the exposed variables, empty when there are none; `None` when the path is another one.
        """
        if path == self._literal:
            return {}
        segments = [segment for segment in path.split("/") if segment]
        if len(segments) != self._size:
            return None
        for at, segment in self._literals:
            if segments[at] != segment:
                return None
        return {name: segments[at] for at, name in self._variables}


def compile_path(template: str) -> PathPattern:
    """Prepare the path of a mount, such as `/socket/:room/websocket`.

    Args:
        template: Absolute path. A segment `:name` stands for any one segment and is exposed under that name;
            `:_name` is matched and not exposed.

    Raises:
        ConfigurationError: The path is not absolute, or a variable is not a whole segment, not a name, or there twice.
    """
    if not template.startswith("/"):
        raise ConfigurationError(
            f'a socket\'s path must begin with "/": got {template!r}; write {"/" + template!r} instead'
        )
    segments = [segment for segment in template.split("/") if segment]
    for segment in segments:
        if "*" in segment or (":" in segment and not _VARIABLE.fullmatch(segment)):
            raise ConfigurationError(
                f"a socket's path cannot hold the segment {segment!r} (in {template!r}); accepted are literal segments "
                'and whole-segment variables like ":room", made of letters, digits and "_"'
            )
    pattern = PathPattern(template, segments)
    if len(set(pattern.names)) != len(pattern.names):
        raise ConfigurationError(
            f"a socket's path names a variable twice: got {template!r}; give each its own name, "
            'or let one begin with "_" if its value is not needed'
        )
    return pattern

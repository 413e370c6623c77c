"""Connect parameters from query strings, by Plug's nesting rules, and from paths."""

from typing import Any

import pytest

from broadwing.core.params import MAX_DEPTH, MAX_PAIRS, MAX_QUERY_BYTES, compile_path, parse_query
from broadwing.exceptions import BadRequest, ConfigurationError


@pytest.mark.parametrize(
    ("query", "params"),
    [
        # Expected values: plug 1.20, test/plug/conn/query_test.exs, "decode".
        (b"", {}),
        (b"foo=bar&baz=bat", {"foo": "bar", "baz": "bat"}),
        (
            b"users[name]=hello&users[age]=17&users[address][street]=foo",
            {"users": {"name": "hello", "age": "17", "address": {"street": "foo"}}},
        ),
        (b"my+weird+field=q1%212%22%27w%245%267%2Fz8%29%3F", {"my weird field": "q1!2\"'w$5&7/z8)?"}),
        (b"=", {"": ""}),
        (b"key", {"key": ""}),
        (b"key=", {"key": ""}),
        (b"=value", {"": "value"}),
        (b"foo[]", {"foo": [""]}),
        (b"foo[]=", {"foo": [""]}),
        (b"foo[]=bar&foo[]=baz&bat[]=1&bat[]=2", {"foo": ["bar", "baz"], "bat": ["1", "2"]}),
        (b"x[y][z]=1", {"x": {"y": {"z": "1"}}}),
        (b"x[y][z][]=1", {"x": {"y": {"z": ["1"]}}}),
        (b"x[y][z]=1&x[y][z]=2", {"x": {"y": {"z": "2"}}}),
        (b"x[y][z][]=1&x[y][z][]=2", {"x": {"y": {"z": ["1", "2"]}}}),
        (b"x[y][][z]=1", {"x": {"y": [{"z": "1"}]}}),
        (b"x[y][][z][]=1", {"x": {"y": [{"z": ["1"]}]}}),
        (b"x[][][]=1", {"x": [[["1"]]]}),
        (b"&x=1&&y=2&", {"x": "1", "y": "2"}),
        (b"foo=bar&foo=baz", {"foo": "baz"}),
    ],
)
def test_a_query_is_nested_as_plug_does(query: bytes, params: dict[str, Any]) -> None:
    assert parse_query(query) == params


@pytest.mark.parametrize(
    ("query", "params"),
    [
        # plug, "last always wins on bad queries".
        (b"x[]=1&x[y]=1", {"x": {"y": "1"}}),
        (b"x[y][][w]=2&x[y]=1", {"x": {"y": "1"}}),
        (b"x=1&x[y]=1", {"x": {"y": "1"}}),
        (b"x[y][0][w]=2&x[y]=1", {"x": {"y": "1"}}),
        # By the rules of plug's decoder: the last of `[]` and `[key]` decides, the losers are left out.
        (b"x[y]=1&x[]=2", {"x": ["2"]}),
        (b"x[]=1&x[y]=2&x[]=3", {"x": ["1", "3"]}),
        (b"x[y]=1&x[]=2&x[z]=3", {"x": {"y": "1", "z": "3"}}),
        (b"x[y]=1&x=2", {"x": "2"}),
        # A nested value keeps the place of its first mention.
        (b"x[y]=1&x=2&x[z]=3", {"x": "2"}),
        (b"x[][a]=1&x[]=2&x[][b]=3", {"x": [{"a": "1", "b": "3"}, "2"]}),
    ],
)
def test_the_last_of_contradicting_parameters_wins(query: bytes, params: dict[str, Any]) -> None:
    assert parse_query(query) == params


@pytest.mark.parametrize(
    ("query", "key"),
    [
        (b"[a]=1", "[a]"),
        (b"a]=1", "a]"),
        (b"a[b=1", "a[b"),
        (b"a[b]c=1", "a[b]c"),
        (b"[]=1", "[]"),
    ],
)
def test_brackets_that_enclose_no_key_are_letters(query: bytes, key: str) -> None:
    assert parse_query(query) == {key: "1"}


@pytest.mark.parametrize(
    ("query", "params"),
    [
        (b"a[b[c]]=1", {"a": {"b[c]": "1"}}),
        (b"a[b]c]=1", {"a": {"b]c": "1"}}),
        (b"a[[]=1", {"a": {"[": "1"}}),
        # The official client escapes the brackets.
        (b"user%5Bname%5D=J%C3%BCrgen+M", {"user": {"name": "J\u00fcrgen M"}}),
        (b"list%5B%5D=1&list%5B%5D=2", {"list": ["1", "2"]}),
    ],
)
def test_keys_are_read_after_unescaping(query: bytes, params: dict[str, Any]) -> None:
    assert parse_query(query) == params


def test_only_the_first_equals_sign_separates() -> None:
    assert parse_query(b"token=ab==&x=1=2") == {"token": "ab==", "x": "1=2"}
    assert parse_query(b"token=ab==&x=%31=2") == {"token": "ab==", "x": "1=2"}


def test_empty_pairs_are_left_out_of_escaped_queries_too() -> None:
    assert parse_query(b"&a=%31&&b=2&") == {"a": "1", "b": "2"}


def test_unescaped_utf8_is_text() -> None:
    assert parse_query("a=ü".encode()) == {"a": "ü"}
    # One letter, half of it escaped: unescaped first, decoded then.
    assert parse_query(b"a=\xc3%BC") == {"a": "ü"}


def test_values_keep_their_brackets() -> None:
    assert parse_query(b"a=[1]&b=c[d]") == {"a": "[1]", "b": "c[d]"}


@pytest.mark.parametrize("query", [b"a=%ff", b"%ff=a", b"a=\xff", b"\xff", b"a=%ED%A0%80"])
def test_text_that_is_not_utf8_is_refused_with_400(query: bytes) -> None:
    # Recorded: vsn=2.0.0&a=%ff is answered 400 Bad Request.
    with pytest.raises(BadRequest, match="UTF-8") as caught:
        parse_query(query)
    assert caught.value.status == 400


@pytest.mark.parametrize("query", [b"_utf8=%R2%9P%93", b"a=%", b"a=%2", b"a%4=1", b"a=%4&b=1", b"a=%%20"])
def test_a_broken_escape_is_refused_with_400(query: bytes) -> None:
    with pytest.raises(BadRequest, match="percent-escape") as caught:
        parse_query(query)
    assert caught.value.status == 400


def test_a_query_string_over_a_million_bytes_is_refused_with_414() -> None:
    longest = b"a=" + b"x" * (MAX_QUERY_BYTES - 2)
    assert len(parse_query(longest)["a"]) == 999_998
    with pytest.raises(BadRequest, match="1000001 bytes") as caught:
        parse_query(longest + b"x")
    assert caught.value.status == 414


def test_the_number_of_parameters_is_bounded() -> None:
    most = b"&".join(b"k%d=1" % i for i in range(MAX_PAIRS))
    assert len(parse_query(most)) == 1_000
    with pytest.raises(BadRequest, match="1001 parameters; at most 1000") as caught:
        parse_query(most + b"&k=1")
    assert caught.value.status == 400


def test_the_depth_of_nesting_is_bounded() -> None:
    deepest: Any = parse_query(b"a" + b"[b]" * MAX_DEPTH + b"=1")["a"]
    for _ in range(32):
        deepest = deepest["b"]
    assert deepest == "1"
    for levels in (33, 300_000):
        with pytest.raises(BadRequest, match="deeper than 32") as caught:
            parse_query(b"a" + b"[b]" * levels + b"=1")
        assert caught.value.status == 400


def test_every_call_gives_a_mapping_of_its_own() -> None:
    for query in (b"", b"a=1", b"a[b]=1", b"a=%31"):
        first = parse_query(query)
        first["mine"] = "1"
        assert "mine" not in parse_query(query)


# Paths


def test_a_literal_path_matches_itself_only() -> None:
    pattern = compile_path("/socket/websocket")
    assert pattern.match("/socket/websocket") == {}
    # Recorded: /socket and /socket/nosuch are answered 404.
    assert pattern.match("/socket") is None
    assert pattern.match("/socket/nosuch") is None
    assert pattern.match("/socket/websocket/more") is None
    assert pattern.match("/Socket/websocket") is None


def test_a_trailing_slash_is_tolerated() -> None:
    # Recorded: /socket/websocket/ is answered 101.
    assert compile_path("/socket/websocket").match("/socket/websocket/") == {}
    assert compile_path("/socket/:room/websocket").match("/socket/lobby/websocket/") == {"room": "lobby"}
    assert compile_path("/socket//websocket/").match("/socket/websocket") == {}


def test_path_variables_are_exposed_under_their_names() -> None:
    pattern = compile_path("/socket/:room/:user_id/websocket")
    assert pattern.names == ("room", "user_id")
    assert pattern.match("/socket/lobby 1/7/websocket") == {"room": "lobby 1", "user_id": "7"}
    assert pattern.match("/socket/lobby/websocket") is None
    assert pattern.match("/socket/lobby/7/longpoll") is None
    assert pattern.match("/socket//7/websocket") is None


def test_a_variable_that_begins_with_an_underscore_is_matched_and_not_exposed() -> None:
    pattern = compile_path("/:_tenant/:room/:_/:_/websocket")
    assert pattern.match("/acme/lobby/x/y/websocket") == {"room": "lobby"}
    assert pattern.match("/lobby/websocket") is None


def test_the_root_is_a_path() -> None:
    assert compile_path("/").match("/") == {}
    assert compile_path("/").match("/a") is None


def test_every_match_gives_a_mapping_of_its_own() -> None:
    pattern = compile_path("/socket")
    first = pattern.match("/socket")
    assert first is not None
    first["mine"] = "1"
    assert pattern.match("/socket") == {}


def test_a_pattern_shows_its_template() -> None:
    assert repr(compile_path("/socket/:room")) == "PathPattern('/socket/:room')"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("socket", "write '/socket'"),
        ("", 'must begin with "/"'),
        ("/socket/:", "whole-segment"),
        ("/socket/room:id", "whole-segment"),
        ("/socket/:ro-om", "whole-segment"),
        ("/socket/:1", "whole-segment"),
        ("/socket/*rest", "whole-segment"),
        ("/:a/:a", "own name"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused_at_the_mount(template: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        compile_path(template)
    assert repr(template) in str(caught.value)

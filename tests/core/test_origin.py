"""Which web pages may open a connection: every policy of `check_origin`."""

import functools
import gc
from typing import Any
from urllib.parse import SplitResult

import pytest

from broadwing.core.origin import Origin, OriginCheck, compile_check, refusal_message
from broadwing.core.request import Request
from broadwing.exceptions import ConfigurationError

HOSTLESS = ["file://", "null", "", "/", "example.com", "mailto:a@example.com", "http://", "http://:80"]


def request(origin: str | None, *, scheme: str = "http", host: str = "example.com", port: int = 80) -> Request:
    headers = [(b"host", b"example.com")] + ([] if origin is None else [(b"origin", origin.encode("latin-1"))])
    return Request("GET", scheme, host, port, "/socket/websocket", b"", headers)


def allowed(origin: str | None, option: OriginCheck, host: str | None = "host.com") -> bool:
    return compile_check(option, host=host)(request(origin))


@pytest.mark.parametrize("option", [True, False, "conn", ["//a.com"], [], lambda origin: False])
def test_a_request_without_origin_passes(option: Any) -> None:
    assert allowed(None, option)


@pytest.mark.parametrize("origin", [*HOSTLESS, "http://evil.test", "http://["])
def test_false_lets_every_origin_pass(origin: str) -> None:
    assert allowed(origin, False)


@pytest.mark.parametrize("origin", ["https://host.com", "http://host.com", "https://host.com/", "ws://host.com:4000"])
def test_true_accepts_the_endpoints_host_with_any_scheme_and_port(origin: str) -> None:
    assert allowed(origin, True)


@pytest.mark.parametrize(
    "origin",
    ["https://another.com", "https://sub.host.com", "https://host.com.evil.test", "https://host.com@evil.test"],
)
def test_true_refuses_other_hosts(origin: str) -> None:
    assert not allowed(origin, True)


def test_hosts_are_compared_with_their_case() -> None:
    # Browsers write origins in lower case (RFC 6454 section 4 step 5), so nothing else comes from one.
    assert not allowed("https://Host.com", True)
    assert not allowed("https://Host.com", ["//host.com"])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_loopback_names_are_one_host_by_default(host: str) -> None:
    check = compile_check(True)
    assert check(request(f"http://{host}:4000"))
    assert check(request(f"https://{host}"))
    assert not check(request("http://127.0.0.2:4000"))
    assert not check(request(f"http://{host}.evil.test"))


def test_loopback_names_count_as_others_once_a_host_is_set() -> None:
    assert not allowed("http://localhost:4000", True, "127.0.0.1")
    assert allowed("http://127.0.0.1:4000", True, "127.0.0.1")
    assert allowed("http://[2001:db8::1]:4000", True, "[2001:db8::1]")


def test_without_a_configured_host_every_host_is_accepted() -> None:
    assert allowed("http://anything.test", True, None)
    assert not allowed("null", True, None)


@pytest.mark.parametrize("origin", HOSTLESS)
@pytest.mark.parametrize("option", [True, "conn", ["//example.com", "http://scheme.com", "//port.com:81"]])
def test_an_origin_without_a_host_is_refused(origin: str, option: OriginCheck) -> None:
    assert not allowed(origin, option)
    # Nor does a request that named no host itself make one of it.
    assert not compile_check(option)(request(origin, host=""))


@pytest.mark.parametrize(
    "origin",
    [
        "http://[",
        "http://example.com:port",
        "http://example.com:99999",
        "http://exam\tple.com",
        "http://\xe9xample.com",
    ],
)
@pytest.mark.parametrize("option", [True, "conn", ["//example.com"], lambda origin: True])
def test_what_is_no_origin_at_all_is_refused(origin: str, option: Any) -> None:
    assert not allowed(origin, option, "example.com")


def test_the_first_origin_header_counts() -> None:
    twice = request("http://host.com")
    twice.headers.append((b"origin", b"http://evil.test"))
    assert compile_check(True, host="host.com")(twice)
    twice.headers.reverse()
    assert not compile_check(True, host="host.com")(twice)


# Lists; origins and verdicts as in phoenix test/phoenix/socket/transport_test.exs, "check_origin/4".


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [
        ("http://org1.ex.com", True),
        ("https://org1.ex.com", True),
        ("https://ex.com", True),
        ("https://a.b.ex.com", True),
        ("https://org1.prefix-ex.com", False),
        ("https://prefix-ex.com", False),
        ("https://ex.com.evil.test", False),
        ("ws://org1.ex.com", False),
    ],
)
def test_a_wildcard_accepts_the_host_and_its_subdomains(origin: str, verdict: bool) -> None:
    assert allowed(origin, ["https://*.ex.com", "http://*.ex.com"]) is verdict


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [
        ("http://org1.foo.example.com", True),
        ("http://foo.example.com", True),
        ("http://bad.example.com", False),
        ("http://org1.prefix-foo.example.com", False),
        ("http://prefix-foo.example.com", False),
        ("http://org1.bar.example.com", False),
    ],
)
def test_a_wildcard_may_stand_below_a_subdomain(origin: str, verdict: bool) -> None:
    assert allowed(origin, ["http://*.foo.example.com"]) is verdict


def test_subdomains_need_a_wildcard() -> None:
    assert not allowed("http://org1.ex.com", ["//ex.com"])


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [
        ("http://notallowed.com/", False),
        ("http://example.com/", True),
        ("https://example.com/", True),
        ("https://example.com:8443", True),
        ("http://scheme.com/", True),
        ("http://scheme.com:80", True),
        ("https://scheme.com/", False),
        ("http://scheme.com:8080/", False),
        ("http://port.com:81/", True),
        ("https://port.com:81/", True),
        ("http://port.com:82/", False),
        ("http://port.com", False),
    ],
)
def test_a_list_compares_what_its_entries_name(origin: str, verdict: bool) -> None:
    assert allowed(origin, ("//example.com", "http://scheme.com", "//port.com:81")) is verdict


def test_a_list_may_hold_addresses() -> None:
    assert allowed("http://[::1]:4000", ["http://[::1]:4000"])
    assert not allowed("http://[::1]:4001", ["http://[::1]:4000"])


def test_two_mounts_keep_their_own_policies() -> None:
    first, second = compile_check(["//a.example"]), compile_check(["//b.example"])
    assert first(request("http://a.example"))
    assert not second(request("http://a.example"))
    assert second(request("http://b.example"))
    assert not first(request("http://b.example"))


# "conn"


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [
        ("http://example.com", True),
        ("https://example.com", False),
        ("ws://example.com", False),
        ("wss://example.com", False),
        ("http://www.example.com", False),
        ("http://www.another.com", False),
        ("http://example.com:4000", False),
    ],
)
def test_conn_compares_with_a_plain_request(origin: str, verdict: bool) -> None:
    assert compile_check("conn")(request(origin)) is verdict


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [("https://example.com", True), ("http://example.com", False), ("https://example.com:4000", False)],
)
def test_conn_compares_with_a_request_over_tls(origin: str, verdict: bool) -> None:
    assert compile_check("conn")(request(origin, scheme="https", port=443)) is verdict


def test_conn_compares_ports_and_addresses() -> None:
    assert compile_check("conn")(request("http://[::1]:4000", host="::1", port=4000))
    assert not compile_check("conn")(request("http://[::1]:4001", host="::1", port=4000))


# Functions


def test_a_function_decides() -> None:
    def check(origin: SplitResult) -> bool:
        return origin.hostname == "example.com"

    assert allowed("http://example.com", check)
    assert not allowed("http://notallowed.com", check)


def test_a_function_may_be_given_more_arguments() -> None:
    def check(host: str, origin: SplitResult) -> bool:
        return origin.hostname == host

    assert allowed("https://host.com", functools.partial(check, "host.com"))
    assert not allowed("https://another.com", functools.partial(check, "host.com"))


@pytest.mark.parametrize("origin", ["file://", "null", ""])
def test_a_function_may_accept_origins_without_a_host(origin: str) -> None:
    assert allowed(origin, lambda parsed: not parsed.hostname)


def test_a_function_can_look_at_the_request() -> None:
    seen: list[Request] = []

    def check(origin: Origin) -> bool:
        seen.append(origin.request)
        return True

    asked = request("http://example.com")
    assert compile_check(check)(asked)
    assert seen == [asked]


def test_an_async_function_lets_nobody_in() -> None:
    async def check(origin: SplitResult) -> bool:
        return True

    with pytest.raises(ConfigurationError, match="returned 'coroutine'; expected True or False"):
        allowed("http://evil.test", check)  # type: ignore[arg-type]
    gc.collect()  # a coroutine left behind would warn now


def test_a_function_must_say_yes_or_no() -> None:
    with pytest.raises(ConfigurationError, match="returned 'NoneType'"):
        allowed("http://evil.test", lambda origin: None)  # type: ignore[arg-type,return-value]


# Configuration


@pytest.mark.parametrize("option", [None, "https://example.com", 1, {"a": 1}])
def test_another_option_is_refused_at_the_mount(option: Any) -> None:
    with pytest.raises(ConfigurationError, match='True, False, "conn", a list of origins or a function') as caught:
        compile_check(option)
    assert repr(option) in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "https://",
        "file://",
        "http://[",
        "//a.com:port",
        "//*",
        "//*.",
        "//a.*.com",
        "https://b\u00fccher.example",
        None,
    ],
)
def test_a_list_entry_without_a_host_is_refused_at_the_mount(entry: Any) -> None:
    with pytest.raises(ConfigurationError, match="no origin with a host") as caught:
        compile_check(["//example.com", entry])
    assert repr(entry) in str(caught.value)


def test_a_bare_host_in_a_list_is_told_how_to_be_written() -> None:
    with pytest.raises(ConfigurationError, match=r'write "//example\.com" for any scheme and port'):
        compile_check(["example.com"])


# The log line


@pytest.mark.parametrize("origin", ["file://", "null", "http://evil.test"])
@pytest.mark.parametrize("option", [True, "conn", ["//example.com"], lambda origin: False])
def test_a_refusal_names_the_origin(origin: str, option: Any) -> None:
    message = refusal_message(origin.encode(), option)
    assert f"Origin of the request: {origin}\n" in message
    assert "check_origin=[" in message


def test_a_refusal_says_what_is_accepted() -> None:
    assert "'host.com'" in refusal_message(b"null", True, host="host.com")
    assert "127.0.0.1" not in refusal_message(b"null", True, host="host.com")
    assert "'localhost' (127.0.0.1 and [::1] count" in refusal_message(b"null", True)
    assert "//a.com, https://*.b.com." in refusal_message(b"null", ["//a.com", "https://*.b.com"])
    assert "no pages at all" in refusal_message(b"null", [])
    assert "function" in refusal_message(b"null", lambda origin: False)
    assert "itself was sent to" in refusal_message(b"null", "conn")
    shown = refusal_message(b"https://example.com", "conn", request=request("https://example.com"))
    assert "here http://example.com:80 (behind a proxy" in shown


def test_an_origin_cannot_forge_log_lines() -> None:
    message = refusal_message(b"http://a\r\nERROR\x1b" + b"x" * 9_000, True)
    assert r"http://a\r\nERROR\u001b" in message
    assert len(message) < 2_000
    assert "Origin of the request: \n" in refusal_message(None, True)

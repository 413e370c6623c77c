"""Redis in particular: its URLs, TLS, passwords and rights."""

import re
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from broadwing.exceptions import ConfigurationError, PubSubUnavailable
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.health import Health
from broadwing.pubsub.redis import RedisAdapter
from tests.pubsub.nodes import becomes, gets, listen, node
from tests.support.background import TIMEOUT
from tests.support.brokers import Broker, closing, redis, tell
from tests.support.certificates import Certificates, make_certificates


async def talk(first: str, second: str) -> None:
    """Two nodes hear each other."""
    async with node(RedisAdapter(first)) as one, node(RedisAdapter(second)) as two:
        here, there = await listen(one, "a"), await listen(two, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        two.broadcast("a", b"2")
        await gets(here, b"1", b"2")


# URLs


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_a_url_names_a_server(redis_broker: Broker, scheme: str) -> None:
    redis_broker.ensure()
    adapter = adapter_for(f"{scheme}://127.0.0.1:{redis_broker.port}/0?prefix=chat", node_name="web-1")
    assert isinstance(adapter, RedisAdapter)
    assert adapter.node_name == "web-1"
    await talk(f"{scheme}://localhost:{redis_broker.port}", f"redis://127.0.0.1:{redis_broker.port}/0")


async def test_a_database_is_separate_though_its_channels_are_not(redis_broker: Broker) -> None:
    redis_broker.ensure()
    url = f"redis://127.0.0.1:{redis_broker.port}"
    prefix = uuid.uuid4().hex
    await talk(f"{url}/2?prefix={prefix}", f"{url}/2?prefix={prefix}")
    async with (
        node(RedisAdapter(f"{url}/2?prefix={prefix}")) as one,
        node(RedisAdapter(f"{url}/3?prefix={prefix}")) as two,
        node(RedisAdapter(f"{url}/2?prefix={prefix}")) as three,
    ):
        elsewhere, there = await listen(two, "a"), await listen(three, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        assert elsewhere == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis+tls://h", "names no Redis"),
        ("rediss3://h", "names no adapter"),
        ("redis://h,i", "names several servers"),
        ("redis://h/chat", "no number of a database"),
        ("redis://h:99999", "host or host:port"),
        ("redis://h:port", "host or host:port"),
        ("redis://::1", "host or host:port"),
        ("redis://h?db=1", "accepted here are prefix, queue_bytes, tls_ca"),
        ("redis://h?prefix=", "needs one value"),
        ("redis://h?prefix=a&prefix=b", "needs one value"),
        ("redis://h?queue_bytes=1MB", "is no number"),
        ("redis+cluster://h/1", "no databases"),
        ("redis+sentinel://h", "what the sentinels call the master"),
        ("redis+sentinel://h/m/x", "no number of a database"),
        ("rediss://h?tls_verify=maybe", "accepted are full"),
        ("rediss://h?tls_key=/k", "needs tls_cert"),
        ("rediss://h?tls_ca=/nowhere.pem", "PEM"),
        ("redis://:secr/et@h", "behind a / or ?"),
        ("redis://:secr?et@h", "behind a / or ?"),
    ],
)
def test_a_url_that_can_never_work_is_refused_with_its_remedy(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)) as caught:
        adapter_for(url)
    assert "secr" not in str(caught.value)


def test_no_complaint_repeats_a_password() -> None:
    for rest in ("h/x", "h:port", "h?unknown=1", "h?queue_bytes=x", "h,i", "h?prefix="):
        with pytest.raises(ConfigurationError) as caught:
            adapter_for(f"redis://user:geheim@{rest}")
        assert "geheim" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        adapter_for("rediz://user:geheim@h")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("url", "extra"), [("redis://h", "redis"), ("nats://h", "nats")])
def test_a_driver_that_is_not_installed_is_named_with_its_extra(
    url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if re.match(rf"{extra}\b|broadwing\.pubsub\.{extra}", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'broadwing\[{extra}\]'"):
        adapter_for(url)


# Being let in


async def test_passwords_come_from_the_url(tmp_path: Path) -> None:
    with closing(server := redis(tmp_path, "--requirepass", "p@ss:/?#")):
        url = f"redis://:p%40ss%3A%2F%3F%23@127.0.0.1:{server.port}"
        await talk(url, url.replace("://:", "://default:"))


async def test_a_wrong_password_is_told_once_and_no_reason_to_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(server := redis(tmp_path, "--requirepass", "right")):
        async with node(RedisAdapter(f"redis://:wrong@127.0.0.1:{server.port}")) as one:
            assert one.health is Health.DOWN
            tell_as_admin(server.port, "right", "CONFIG SET requirepass wrong")
            await becomes(one, Health.UP)
            said = [record.message for record in caplog.records if "trying again" in record.message]
            assert len(said) == 1
            assert "invalid username-password pair" in said[0]
            assert "wrong" not in said[0].replace("WRONGPASS", "")


def tell_as_admin(port: int, password: str, command: str) -> None:
    """Send a command on a connection that is let in."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as line:
        line.sendall(f"AUTH {password}\r\n{command}\r\n".encode())
        answer = b""
        while answer.count(b"\r\n") < 2:
            answer += line.recv(100)
    assert answer == b"+OK\r\n+OK\r\n"


async def test_a_channel_that_the_user_has_no_right_to_is_refused_aloud_and_others_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(server := redis(tmp_path)):
        rights = ("on", ">pw", "+@all", "&broadwing:t:open*", "&broadwing:n:*")
        assert tell(server.port, "ACL", "SETUSER", "limited", *rights) == "+OK\r\n"
        url = f"redis://limited:pw@127.0.0.1:{server.port}"
        adapter = RedisAdapter(url)
        async with node(adapter) as one, node(RedisAdapter(url)) as two:
            refused, accepted = adapter.subscribe("secret"), await listen(one, "open:1")
            assert refused is not None
            with pytest.raises(PubSubUnavailable, match="refuses the subscription"):
                await refused
            assert "refuses subscribe" in caplog.text
            for _ in range(3):
                two.broadcast("secret", b"unheard")
            two.broadcast("open:1", b"1")
            await gets(accepted, b"1")
            assert caplog.text.count("refuses a message") == 1
            assert one.health is Health.UP


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_port(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[int]:
    """A Redis server that speaks TLS only, to clients with a certificate of ours only."""
    pair = ("--tls-cert-file", str(certificates.server), "--tls-key-file", str(certificates.server))
    server = redis(tmp_path_factory.mktemp("tls"), *pair, "--tls-ca-cert-file", str(certificates.authority), tls=True)
    with closing(server):
        yield server.port


async def test_tls_with_certificates_on_both_sides(tls_port: int, certificates: Certificates) -> None:
    keys = f"tls_ca={certificates.authority}&tls_cert={certificates.client}&tls_key={certificates.client}"
    await talk(f"rediss://127.0.0.1:{tls_port}?{keys}", f"valkeys://localhost:{tls_port}?{keys}&tls_verify=ca")
    await talk(
        f"rediss://127.0.0.1:{tls_port}?{keys}",
        f"rediss://localhost:{tls_port}?tls_cert={certificates.client}&tls_verify=none",
    )


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("tls_cert={client}", "CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
        ("tls_ca={authority}", "(?i)certificate required|closed|reset"),
    ],
)
async def test_tls_without_trust_is_no_connection(
    tls_port: int, certificates: Certificates, keys: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    query = keys.format(client=certificates.client, authority=certificates.authority)
    async with node(RedisAdapter(f"rediss://127.0.0.1:{tls_port}?{query}")) as one:
        assert one.health is Health.DOWN
        assert re.search(reason, caplog.text), caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_server_without_tls_is_not_spoken_to_in_the_clear(redis_broker: Broker) -> None:
    redis_broker.ensure()
    async with node(RedisAdapter(f"rediss://127.0.0.1:{redis_broker.port}?tls_verify=none")) as one:
        assert one.health is Health.DOWN

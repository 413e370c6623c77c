"""NATS in particular: its URLs, ways to log in, TLS, servers and subjects."""

import asyncio
import logging
import re
import tracemalloc
from pathlib import Path

import nkeys
import pytest

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.health import Health
from broadwing.pubsub.nats import NatsAdapter
from broadwing.pubsub.nats_subjects import LONGEST, is_prefix, node_subject, topic_subject
from tests.pubsub.nodes import becomes, gets, listen, node, until
from tests.support.brokers import Broker, closing, nats
from tests.support.certificates import Certificates, make_certificates
from tests.support.nats_accounts import Key, make_accounts
from tests.support.relay import relay


async def talk(url: str) -> None:
    """Two nodes hear each other."""
    async with node(NatsAdapter(url)) as one, node(NatsAdapter(url)) as two:
        here, there = await listen(one, "a"), await listen(two, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        two.broadcast("a", b"2")
        await gets(here, b"1", b"2")


async def is_refused(url: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """A node is not let in, and says why without saying with what."""
    async with node(NatsAdapter(url)) as one:
        assert one.health is Health.DOWN
        await until(lambda: re.search(reason, caplog.text), lambda: caplog.text)
        assert "wrong" not in caplog.text


# Subjects


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("room:lobby", "p.t.room:lobby"),
        ("users_socket:1", "p.t.users_socket:1"),
        ("a/b-c+d,e=f?g", "p.t.a/b-c+d,e=f?g"),
        ("room.x", "p.b.cm9vbS54"),  # base64url, RFC 4648 section 5
        ("*", "p.b.Kg"),
        (">", "p.b.Pg"),
        ("a b", "p.b.YSBi"),
        ("", "p.b.="),
        ("ü", "p.b.w7w"),
        ("$SYS", "p.t.$SYS"),
    ],
)
def test_a_topic_has_a_subject_that_can_be_read_if_possible(topic: str, subject: str) -> None:
    assert topic_subject("p", topic) == (subject, False)


def test_a_long_topic_is_a_hash_and_the_message_names_it() -> None:
    # FIPS 180-4, example: SHA-256 of a million letters a.
    million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    assert topic_subject("p", "a" * 1_000_000) == (f"p.h.{million}", True)
    assert topic_subject("p", "a" * LONGEST).is_hash is False
    assert topic_subject("p", "a" * (LONGEST + 1)).is_hash is True
    assert topic_subject("p", "ü" * LONGEST).is_hash is True


def test_nodes_and_topics_of_one_name_are_kept_apart() -> None:
    for name in ("web-1", "ü", "x" * 2000):
        assert node_subject("p", name).name != topic_subject("p", name).name


@pytest.mark.parametrize("prefix", ["broadwing", "a.b", "chat-1", "a$b"])
def test_words_joined_by_dots_are_a_prefix(prefix: str) -> None:
    assert is_prefix(prefix)


@pytest.mark.parametrize("prefix", ["a..b", ".a", "a.", "a b", "a.*", ">", "ü", "$SYS", "a\n", "x" * 2000])
def test_what_cannot_begin_a_subject_is_no_prefix(prefix: str) -> None:
    assert not is_prefix(prefix)


# URLs


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nats+ws://h", "names no adapter"),
        ("nats://h/chat", "prefixes are ?prefix=chat"),
        ("nats://h?prefix=a.*", "cannot begin a subject"),
        ("nats://h?tls_ca=/x", "accepted here are credentials, nkey, prefix, queue_bytes"),
        ("nats+tls://h?tls_ca=/nowhere.pem", "PEM"),
        ("nats://h?credentials=/nowhere.creds", "is not a file"),
        ("nats://h?nkey=/nowhere.nk", "is not a file"),
        ("nats://user:secret@h:99999", "host or host:port"),
        ("nats://h,,i:x", "host or host:port"),
    ],
)
def test_a_url_that_can_never_work_is_refused_with_its_remedy(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)) as caught:
        adapter_for(url)
    assert "secret" not in str(caught.value)


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names no NATS"):
        NatsAdapter("redis://h")


async def test_a_url_names_a_server_and_a_prefix(nats_broker: Broker) -> None:
    nats_broker.ensure()
    adapter = adapter_for(f"nats://127.0.0.1:{nats_broker.port}?prefix=chat.prod", node_name="web-1")
    assert isinstance(adapter, NatsAdapter)
    assert adapter.node_name == "web-1"
    await talk(f"nats://localhost:{nats_broker.port}?prefix=chat.prod")


# Being let in


async def test_user_and_password_come_from_the_url(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(server := nats(tmp_path, "--user", "ann", "--pass", "p@ss:/?#")):
        await talk(f"nats://ann:p%40ss%3A%2F%3F%23@127.0.0.1:{server.port}")
        await is_refused(f"nats://ann:wrong@127.0.0.1:{server.port}", "(?i)authorization violation", caplog)


async def test_a_token_comes_from_the_url(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(server := nats(tmp_path, "--auth", "t0ken")):
        await talk(f"nats://t0ken@127.0.0.1:{server.port}")
        await is_refused(f"nats://wrong@127.0.0.1:{server.port}", "(?i)authorization violation", caplog)


async def test_a_node_proves_who_it_is_by_an_nkey(tmp_path: Path) -> None:
    key = Key(nkeys.PREFIX_BYTE_USER)
    seed = tmp_path / "user.nk"
    seed.write_text(key.seed)
    config = f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}\n"
    with closing(server := nats(tmp_path / "server", config=config)):
        await talk(f"nats://127.0.0.1:{server.port}?nkey={seed}")


async def test_a_node_proves_who_it_is_by_a_credentials_file(tmp_path: Path) -> None:
    accounts = make_accounts(tmp_path)
    with closing(server := nats(tmp_path / "server", config=accounts.config)):
        await talk(f"nats://127.0.0.1:{server.port}?credentials={accounts.credentials}")


async def test_a_subject_that_the_user_has_no_right_to_is_complained_of_and_others_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = '["broadwing.t.open:>", "broadwing.t.open:1", "broadwing.n.*"]'
    config = (
        "authorization { users: [ { user: ann, password: pw, permissions: "
        f"{{ publish: {allowed}, subscribe: {allowed} }} }} ] }}\n"
    )
    with closing(server := nats(tmp_path, config=config)):
        url = f"nats://ann:pw@127.0.0.1:{server.port}"
        async with node(NatsAdapter(url)) as one, node(NatsAdapter(url)) as two:
            await listen(one, "secret")
            got = await listen(one, "open:1")
            two.broadcast("secret", b"unheard")
            two.broadcast("open:1", b"1")
            await gets(got, b"1")
            await until(lambda: caplog.text.count("refuses something") == 2, lambda: caplog.text)
            assert 'permissions violation for subscription to "broadwing.t.secret"' in caplog.text
            assert one.health is two.health is Health.UP


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


async def test_tls_with_certificates_on_both_sides(
    tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--tls", "--tlscert", str(certificates.server), "--tlskey", str(certificates.server))
    with closing(server := nats(tmp_path, *options, "--tlsverify", "--tlscacert", str(certificates.authority))):
        keys = f"tls_cert={certificates.client}&tls_key={certificates.client}"
        await talk(f"nats+tls://127.0.0.1:{server.port}?{keys}&tls_ca={certificates.authority}")
        await talk(f"nats+tls://localhost:{server.port}?{keys}&tls_verify=none")
        await is_refused(f"nats+tls://127.0.0.1:{server.port}?{keys}", "(?i)certificate.verify.failed", caplog)


async def test_credentials_are_not_sent_to_a_server_that_offers_no_tls(
    nats_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    nats_broker.ensure()
    async with relay(nats_broker.port) as way:
        await is_refused(f"nats+tls://ann:geheim@127.0.0.1:{way.port}", "does not offer TLS", caplog)
        assert way.to_server == 0


# Servers


async def test_the_next_of_several_servers_is_taken_when_one_is_lost(tmp_path: Path) -> None:
    first, second = nats(tmp_path / "1"), nats(tmp_path / "2")
    with closing(first, second):
        url = f"nats://127.0.0.1:{first.port},127.0.0.1:{second.port}"
        async with node(NatsAdapter(url)) as one, node(NatsAdapter(url)) as two:
            there = await listen(two, "a")
            one.broadcast("a", b"1")
            await gets(there, b"1")
            await asyncio.to_thread(first.kill)
            await becomes(one, Health.DOWN)
            await becomes(two, Health.DOWN)
            await becomes(two, Health.UP)
            await becomes(one, Health.UP)
            one.broadcast("a", b"2")
            await gets(there, b"1", b"2")


async def test_a_message_larger_than_the_server_takes_is_told_of_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(server := nats(tmp_path, config="max_payload: 10000\n")):
        url = f"nats://127.0.0.1:{server.port}"
        async with node(NatsAdapter(url)) as one, node(NatsAdapter(url)) as two:
            here, there = await listen(one, "a"), await listen(two, "a")
            one.broadcast("a", b"x" * 20_000)
            await asyncio.sleep(0)  # what is broadcast in one turn goes together
            one.broadcast("a", b"1")
            await gets(there, b"1")
            assert len(here) == 2
            (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert re.search(r"of 200\d\d bytes on broadwing.t.a .* at most 10000; its max_payload", record.message)
            assert one.health is Health.UP


async def test_an_error_that_ends_the_connection_is_survived(
    nats_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    nats_broker.ensure()
    adapter = NatsAdapter(f"nats://127.0.0.1:{nats_broker.port}")
    async with node(adapter) as one:
        got = await listen(one, "a")
        line = adapter._servers._line  # type: ignore[attr-defined]
        await line.send(b"NONSENSE\r\n")
        await becomes(one, Health.DOWN)
        await becomes(one, Health.UP)
        assert "unknown protocol operation" in caplog.text
        one.direct_broadcast(one.node_name, "a", b"1")
        await gets(got, b"1")


async def test_a_topic_costs_a_node_no_task_and_less_than_a_kilobyte(nats_broker: Broker) -> None:
    nats_broker.ensure()
    adapter = NatsAdapter(f"nats://127.0.0.1:{nats_broker.port}")
    async with node(adapter):
        names = [f"user:{number}" for number in range(2000)]
        tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        try:
            for name in names:
                adapter.subscribe(name)
            await until(lambda: not adapter._waiting)
            cost = tracemalloc.get_traced_memory()[0] / len(names)
        finally:
            tracemalloc.stop()
        assert len(asyncio.all_tasks()) == tasks
        assert cost < 1000

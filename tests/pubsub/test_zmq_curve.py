"""Keys of a mesh: who has one of those that are allowed joins, everybody else stays outside and is told why."""

import asyncio
from pathlib import Path

import pytest
import zmq.auth

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.adapters import adapter_for
from tests.support.background import TIMEOUT
from tests.support.mesh import free_addresses, here, until


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory with certificates `cluster`, `script` and `stranger`."""
    for name in ("cluster", "script", "stranger"):
        zmq.auth.create_certificates(tmp_path, name)
    return tmp_path


def closed(addresses: list[str], bind: str, **options: Path) -> str:
    return f"zmq://{','.join(addresses)}?bind={bind}" + "".join(f"&{name}={value}" for name, value in options.items())


async def test_nodes_with_the_key_of_the_cluster_hear_each_other_and_themselves(keys: Path) -> None:
    addresses = free_addresses(2)
    urls = [closed(addresses, bind, curve_key=keys / "cluster.key_secret") for bind in addresses]
    async with here(urls[0]) as one, here(urls[1]) as two:
        assert one.reaches(1)
        assert two.reaches(1)
        heard = two.hears("a")
        one.pubsub.broadcast("a", b"1")
        two.pubsub.direct_broadcast(two.pubsub.node_name, "a", b"2")
        await until(lambda: sorted(heard) == [b"1", b"2"])


@pytest.mark.usefixtures("impatient")
async def test_what_travels_cannot_be_read(keys: Path) -> None:
    # A node in the middle: what it passes on holds no byte of the message.
    seen = bytearray()
    addresses = free_addresses(2)
    behind = free_addresses(3)[2]

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = behind.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                seen.extend(data)
                target.write(data)
            target.close()

        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    host, _, port = addresses[1].rpartition(":")
    key = keys / "cluster.key_secret"
    async with await asyncio.start_server(relay, host, int(port)):
        # First the one behind: the relay has to find it when the other connects, and what is said before is for nobody.
        async with (
            here(closed([addresses[0]], behind, curve_key=key)) as two,
            here(closed([addresses[1]], addresses[0], curve_key=key)) as one,
        ):
            heard = two.hears("a")
            await until(lambda: one.reaches(1))
            one.pubsub.broadcast("a", b"a secret that nobody else may read")
            await until(lambda: heard)
        assert heard == [b"a secret that nobody else may read"]
        assert len(seen) > 200
        assert b"secret that" not in seen
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait((task,), timeout=TIMEOUT)


async def test_a_script_with_a_key_of_its_own_publishes_if_that_is_allowed(keys: Path) -> None:
    address = free_addresses(1)[0]
    node = closed([address], address, curve_key=keys / "cluster.key_secret", curve_allowed=keys / "script.key")
    async with here(node) as one:
        heard = one.hears("a")
        url = closed(
            [address], "127.0.0.1:0", curve_key=keys / "script.key_secret", curve_server_key=keys / "cluster.key"
        )
        async with here(url) as script:
            assert script.adapter.is_up
            script.pubsub.broadcast("a", b"1")
            await until(lambda: heard)


async def test_allowed_keys_can_be_a_directory(keys: Path) -> None:
    address = free_addresses(1)[0]
    node = closed([address], address, curve_key=keys / "cluster.key_secret", curve_allowed=keys)
    async with here(node):
        url = closed(
            [address], "127.0.0.1:0", curve_key=keys / "script.key_secret", curve_server_key=keys / "cluster.key"
        )
        async with here(url) as script:
            assert script.reaches(1)


async def test_a_key_that_is_not_allowed_is_refused_and_both_sides_say_so(
    keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = free_addresses(1)[0]
    async with here(closed([address], address, curve_key=keys / "cluster.key_secret")) as one:
        heard = one.hears("a")
        url = closed(
            [address], "127.0.0.1:0", curve_key=keys / "stranger.key_secret", curve_server_key=keys / "cluster.key"
        )
        async with here(url) as stranger:
            await until(lambda: "wanted to join the bus with a key that is not allowed" in caplog.text)
            await until(lambda: "it refuses this node's key" in caplog.text)
            assert not stranger.reaches(1)
            stranger.pubsub.broadcast("a", b"unheard")
            assert stranger.pubsub.health.value == "up"  # a mesh of one
        one.pubsub.direct_broadcast(one.pubsub.node_name, "a", b"heard")
        await until(lambda: heard)
        assert heard == [b"heard"]


async def test_a_server_with_another_key_is_not_talked_to(keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = free_addresses(1)[0]
    async with here(closed([address], address, curve_key=keys / "stranger.key_secret", curve_allowed=keys)):
        url = closed([address], "127.0.0.1:0", curve_key=keys / "cluster.key_secret")
        async with here(url) as node:
            await until(lambda: "its keys do not fit" in caplog.text)
            assert not node.reaches(1)


@pytest.mark.parametrize("closed_first", [True, False])
async def test_a_node_without_keys_and_one_with_keys_do_not_meet(
    closed_first: bool, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = free_addresses(2)
    with_keys = closed(addresses, addresses[0], curve_key=keys / "cluster.key_secret")
    without = closed(addresses, addresses[1])
    first, second = (with_keys, without) if closed_first else (without, with_keys)
    async with here(first) as one, here(second) as two:
        heard = [one.hears("a"), two.hears("a")]
        # libzmq tells this apart from other failures only if the answer comes before the end of the connection.
        told = ("only one side has keys", "its keys do not fit", "cannot be reached")
        await until(lambda: any(text in caplog.text for text in told))
        one.pubsub.broadcast("a", b"from one")
        two.pubsub.broadcast("a", b"from two")
        for node in (one, two):
            node.pubsub.direct_broadcast(node.pubsub.node_name, "a", b"own")
        await until(lambda: all(b"own" in messages for messages in heard))
        assert heard == [[b"from one", b"own"], [b"from two", b"own"]]
        assert not one.reaches(1)
        assert not two.reaches(1)


async def test_a_node_with_the_right_key_joins_after_one_with_a_wrong_key(keys: Path) -> None:
    addresses = free_addresses(2)
    right = [closed(addresses, bind, curve_key=keys / "cluster.key_secret") for bind in addresses]
    async with here(right[0]) as one:
        async with here(closed(addresses, addresses[1], curve_key=keys / "stranger.key_secret")):
            assert not one.reaches(1)
        async with here(right[1]) as two:
            heard = two.hears("a")
            await until(lambda: one.reaches(1))
            one.pubsub.broadcast("a", b"1")
            await until(lambda: heard)


WRONG = {
    "no key of its own": ("&curve_allowed={keys}/script.key", "need curve_key"),
    "only the server's": ("&curve_server_key={keys}/cluster.key", "need curve_key"),
    "no such file": ("&curve_key={keys}/none.key_secret", "no certificate"),
    "no secret in it": ("&curve_key={keys}/cluster.key", "no secret key"),
    "no certificate": ("&curve_key={keys}/text", "no certificate"),
    "a short key": ("&curve_key={keys}/short", "no certificate"),
    "an empty directory": ("&curve_key={keys}/cluster.key_secret&curve_allowed={keys}/empty", "without a file"),
    "no such server": ("&curve_key={keys}/cluster.key_secret&curve_server_key={keys}/none", "no certificate"),
}


@pytest.mark.parametrize("what", WRONG)
def test_half_a_configuration_is_refused(what: str, keys: Path) -> None:
    (keys / "text").write_text("no keys here")
    (keys / "short").write_text('curve\n    public-key = "abcde"\n    secret-key = "abcde"\n')
    (keys / "empty").mkdir()
    options, complaint = WRONG[what]
    with pytest.raises(ConfigurationError, match=complaint):
        adapter_for("zmq://127.0.0.1:5555?bind=127.0.0.1:5555" + options.format(keys=keys))

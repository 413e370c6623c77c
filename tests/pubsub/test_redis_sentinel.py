"""A Redis master that is found by its sentinels."""

import asyncio
import socket
from pathlib import Path

import pytest

from broadwing.pubsub.health import Health
from broadwing.pubsub.redis import RedisAdapter
from tests.pubsub.nodes import becomes, gets, listen, node, until
from tests.support.background import TIMEOUT
from tests.support.brokers import closing, redis, redis_sentinels


async def test_a_failover_by_sentinels_is_followed(tmp_path: Path) -> None:
    name, password = "mymaster", "geheim"
    with redis_sentinels(tmp_path, name, password) as ((master, replica), sentinels):
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        # A sentinel that is away costs nothing but a moment.
        url = f"redis+sentinel://:{password}@127.0.0.1:1,{hosts}/{name}/1"
        async with node(RedisAdapter(url)) as one, node(RedisAdapter(url)) as two:
            here, there = await listen(one, "a"), await listen(two, "a")
            assert tell_clients(master.port, password) == 4
            assert tell_clients(replica.port, password) == 0
            one.broadcast("a", b"1")
            await gets(there, b"1")
            await asyncio.to_thread(master.kill)
            await becomes(one, Health.DOWN)
            one.broadcast("a", b"waits")
            await becomes(two, Health.UP)
            await becomes(one, Health.UP)
            assert tell_clients(replica.port, password) == 4
            two.broadcast("a", b"2")
            await until(lambda: here[-1] == b"2", lambda: here)
            await asyncio.to_thread(sentinels[0].kill)
            await one._adapter.reconnect()
            await becomes(one, Health.UP)


def tell_clients(port: int, password: str) -> int:
    """How many connections nodes have to a server."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as line:
        line.sendall(f"AUTH {password}\r\nCLIENT LIST\r\nQUIT\r\n".encode())
        answer = b""
        while data := line.recv(65_536):
            answer += data
    return answer.count(b"name=broadwing:")


async def test_sentinels_that_do_not_know_the_master_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sentinel.conf").write_text("")
    with closing(sentinel := redis(tmp_path, sentinel=True)):
        async with node(RedisAdapter(f"redis+sentinel://127.0.0.1:{sentinel.port}/nobody")) as one:
            assert one.health is Health.DOWN
            assert f"127.0.0.1:{sentinel.port} does not know it" in caplog.text


async def test_a_server_that_is_no_master_is_not_taken_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sentinel").mkdir()
    with closing(master := redis(tmp_path / "master")):
        replica = redis(tmp_path / "replica", "--replicaof", "127.0.0.1", str(master.port))
        (tmp_path / "sentinel" / "sentinel.conf").write_text(f"sentinel monitor m 127.0.0.1 {replica.port} 1\n")
        with closing(replica, sentinel := redis(tmp_path / "sentinel", sentinel=True)):
            async with node(RedisAdapter(f"redis+sentinel://127.0.0.1:{sentinel.port}/m")) as one:
                await until(lambda: "whose role is slave" in caplog.text, lambda: caplog.text)
                assert one.health is Health.DOWN

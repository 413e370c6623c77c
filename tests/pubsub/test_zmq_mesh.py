"""How nodes of a mesh find each other, know each other, and take what strangers send."""

import asyncio
import copy
import logging
import os
import shutil
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from broadwing.exceptions import ConfigurationError, PubSubUnavailable
from broadwing.pubsub import zmq_intake
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.health import Health
from broadwing.pubsub.zmq import ZmqAdapter
from broadwing.pubsub.zmq_frames import MESSAGES, head, record
from broadwing.pubsub.zmq_intake import Intake
from broadwing.pubsub.zmq_places import Directory
from tests.support.background import TIMEOUT
from tests.support.mesh import Here, free_addresses, here, listed, until


def sockets_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.is_socket()}


async def exchange(one: Here, two: Here) -> None:
    """Both hear each other."""
    for speaker, listener in ((one, two), (two, one)):
        heard = listener.hears("exchange")
        speaker.pubsub.broadcast("exchange", b"hello")
        await until(heard.__len__)
        assert heard == [b"hello"]


# Nodes of one machine.


async def test_a_file_that_nobody_listens_behind_is_removed_by_who_finds_it(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "4194304-dead00000000.sock"))
    dead.close()
    assert len(sockets_in(tmp_path)) == 1
    async with here(f"zmq+ipc://{tmp_path}") as one:
        await until(lambda: len(sockets_in(tmp_path)) == 1)
        assert sockets_in(tmp_path) != {"4194304-dead00000000.sock"}
        assert one.adapter.peers == {}


async def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    async with here(f"zmq+ipc://{tmp_path}") as one, here(f"zmq+ipc://{tmp_path}") as two:
        await exchange(one, two)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


async def test_a_directory_is_made_for_this_user_alone(tmp_path: Path) -> None:
    async with here(f"zmq+ipc://{tmp_path}/a/bus"):
        assert (tmp_path / "a" / "bus").stat().st_mode & 0o777 == 0o700


async def test_a_directory_that_anybody_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        await ZmqAdapter(f"zmq+ipc://{tmp_path}").start(lambda topic, data: None, lambda: None)


async def test_a_node_whose_file_was_removed_binds_anew_and_is_found(tmp_path: Path) -> None:
    async with here(f"zmq+ipc://{tmp_path}") as one:
        (own,) = sockets_in(tmp_path)
        (tmp_path / own).unlink()
        await until(lambda: sockets_in(tmp_path) - {own})
        async with here(f"zmq+ipc://{tmp_path}") as two:
            await exchange(one, two)


async def test_a_directory_that_is_removed_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "bus"
    async with here(f"zmq+ipc://{directory}") as one, here(f"zmq+ipc://{directory}") as two:
        shutil.rmtree(directory)
        await until(lambda: directory.exists() and len(sockets_in(directory)) == 2)
        await until(lambda: one.reaches(1) and two.reaches(1))
        await exchange(one, two)
        assert "its socket was removed" in caplog.text


def test_a_file_of_a_node_that_is_too_busy_to_answer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "1-busy.sock"
    places = Directory(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        answer = 0
        while answer == 0:  # until its backlog is full, as of a process that is stopped while others dial it
            caller = stack.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            answer = caller.connect_ex(str(path))
        assert not places.is_gone(f"ipc://{path}")
        assert path.exists()
    assert places.is_gone(f"ipc://{path}")
    assert not path.exists()


async def test_a_look_for_nodes_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find = Directory.find
    failures = 0

    async def fails_at_first(places: Directory) -> set[str]:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise RuntimeError("on purpose")
        return await find(places)

    monkeypatch.setattr(Directory, "find", fails_at_first)
    monkeypatch.setattr(Directory, "interval", 0.05)
    async with here(f"zmq+ipc://{tmp_path}") as one, here(f"zmq+ipc://{tmp_path}") as two:
        await until(lambda: one.reaches(1) and two.reaches(1))
        await exchange(one, two)
    assert caplog.text.count("looking for the nodes of the bus failed") == 2


async def test_a_node_that_stops_is_forgotten(tmp_path: Path) -> None:
    async with here(f"zmq+ipc://{tmp_path}") as one:
        async with here(f"zmq+ipc://{tmp_path}"):
            await until(lambda: one.reaches(1))
        await until(lambda: one.reaches(0))


# Nodes of several machines.


@pytest.mark.usefixtures("impatient")
async def test_a_node_binds_when_its_address_becomes_free_and_what_waited_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    where = listed(free_addresses(2))
    taken = where[0].rpartition("=")[2].rpartition(":")
    with socket.create_server((taken[0], int(taken[2]))):
        one = Here(where[0])
        await one.pubsub.start()
        assert one.pubsub.health is Health.DOWN
        assert "in use" in caplog.text
        with pytest.raises(PubSubUnavailable, match="address is taken"):
            one.adapter.publish("a", b"")
        one.pubsub.broadcast("a", b"waits")
    async with here(where[1]) as two:
        heard = two.hears("a")
        await until(lambda: one.pubsub.health is Health.UP)
        await until(lambda: one.reaches(1))
        one.pubsub.broadcast("a", b"sent")
        await until(lambda: b"sent" in heard)
        await one.pubsub.stop()


@pytest.mark.usefixtures("impatient")
async def test_an_address_of_another_machine_does_not_become_ours() -> None:
    node = Here("zmq://192.0.2.1:5555?bind=192.0.2.1:5555")  # TEST-NET-1, RFC 5737
    await node.pubsub.start()
    assert not node.adapter.is_up
    await node.pubsub.stop()


@pytest.mark.usefixtures("impatient")
async def test_a_node_listed_under_several_addresses_hears_once_and_not_itself() -> None:
    port = free_addresses(1)[0].rpartition(":")[2]
    other = free_addresses(3)[2]
    several = f"127.0.0.1:{port},127.0.0.2:{port}"
    async with (
        here(f"zmq://{several},{other}?bind=0.0.0.0:{port}") as one,
        here(f"zmq://{several}?bind={other}") as two,
    ):
        await until(lambda: one.reaches(1))  # its own two addresses are no others
        await until(lambda: two.reaches(2))
        expected = [b"%d" % number for number in range(200)]
        here_, there = one.hears("a"), two.hears("a")
        for message in expected:
            two.pubsub.broadcast("a", message)
            await asyncio.sleep(0)
        await until(lambda: len(here_) >= 200)
        one.pubsub.broadcast("a", b"end")
        await until(lambda: b"end" in there)
        assert here_ == [*expected, b"end"]
        assert there == [*expected, b"end"]


async def test_a_node_that_is_in_nobodys_list_publishes_and_does_not_wait() -> None:
    where = listed(free_addresses(2))
    loop = asyncio.get_running_loop()
    async with here(where[0]) as one, here(where[1]) as two:
        heard = [one.hears("a"), two.hears("a")]
        addresses = where[0].partition("?")[0]
        begin = loop.time()
        async with here(f"{addresses}?bind=127.0.0.1:0") as script:
            assert script.reaches(2)
            assert loop.time() - begin < TIMEOUT / 2  # nodes here wait that long for each other, see conftest.py
            script.pubsub.broadcast("a", b"1")
            script.pubsub.direct_broadcast(two.pubsub.node_name, "a", b"2")
        await until(lambda: heard[1] == [b"1", b"2"])
        await until(lambda: heard[0] == [b"1"])


@pytest.mark.usefixtures("impatient")
async def test_a_node_that_the_others_do_not_list_is_told_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    first, second = free_addresses(2)
    loop = asyncio.get_running_loop()
    async with here(f"zmq://{first}?bind={first}"):
        begin = loop.time()
        async with here(f"zmq://{first},{second}?bind={second}") as unlisted:
            confirmation = unlisted.adapter.subscribe("a")
            if confirmation is not None:
                await confirmation
            assert loop.time() - begin < 15  # 1 s for the start and 1 s for the subscription are promised
            assert "does not reach this one: its list lacks" in caplog.text
            assert unlisted.adapter.subscribe("b") is None


@pytest.mark.usefixtures("impatient")
async def test_a_name_is_resolved_again_and_the_own_address_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadwing.pubsub.zmq_places.Hosts.interval", 0.02)
    monkeypatch.setattr("broadwing.pubsub.zmq_places.Hosts.pause", 0.0)
    port = free_addresses(1)[0].rpartition(":")[2]
    answers = ["127.0.0.1"]
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        asked.append(host)
        if not answers:
            raise socket.gaierror("no name server")
        assert options["family"] == socket.AF_INET
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port)) for answer in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    url = f"zmq://chat.test:{port}?bind="
    async with here(f"{url}127.0.0.1:{port}") as one:
        assert one.reaches(0)
        async with here(f"{url}127.0.0.2:{port}") as two:
            answers.append("127.0.0.2")
            await until(lambda: one.reaches(1) and two.reaches(1))
            await exchange(one, two)
            answers.clear()  # a name server that fails costs nobody a connection
            count = len(asked)
            await until(lambda: len(asked) > count + 3)
            assert one.reaches(1)
            await exchange(one, two)
            answers.append("127.0.0.1")  # nor does one that gives half an answer
            count = len(asked)
            await until(lambda: len(asked) > count + 3)
            assert one.reaches(1)
        await until(lambda: one.reaches(0))  # but who is neither named nor there is forgotten
    assert set(asked) == {"chat.test"}


async def test_a_node_that_listens_everywhere_finds_out_which_address_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_addresses(1)[0].rpartition(":")[2]

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (1, 2)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with here(f"zmq://chat.test:{port}?bind=0.0.0.0:{port}") as one:
        await until(lambda: one.reaches(0))
        one.pubsub.broadcast("a", b"1")
        heard = one.hears("a")
        one.pubsub.direct_broadcast(one.pubsub.node_name, "a", b"2")
        await until(lambda: heard)
        assert heard == [b"2"]


async def test_ipv6_works_as_ipv4_does() -> None:
    listeners = [socket.create_server(("::1", 0), family=socket.AF_INET6) for _ in range(2)]
    addresses = [f"[::1]:{listener.getsockname()[1]}" for listener in listeners]
    for listener in listeners:
        listener.close()
    where = listed(addresses)
    async with here(where[0]) as one, here(where[1]) as two:
        await until(lambda: one.reaches(1) and two.reaches(1))
        await exchange(one, two)


# Names.


async def test_nodes_that_a_fork_made_of_one_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Servers that load the application first and fork then leave each worker with the same objects.
    one = Here(f"zmq+ipc://{tmp_path}")
    two = Here(f"zmq+ipc://{tmp_path}")
    two.adapter.__dict__.update(copy.deepcopy(one.adapter.__dict__))
    assert one.pubsub.node_name == two.pubsub.node_name
    await one.pubsub.start()
    monkeypatch.setattr(os, "getpid", lambda: 2**22)
    await two.pubsub.start()
    assert one.pubsub.node_name != two.pubsub.node_name
    await until(lambda: one.reaches(1) and two.reaches(1))
    await exchange(one, two)
    await one.pubsub.stop()
    await two.pubsub.stop()


async def test_a_second_node_of_one_name_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with here(f"zmq+ipc://{tmp_path}", "twin"), here(f"zmq+ipc://{tmp_path}", "twin"):
        await until(lambda: "calls itself twin too" in caplog.text)


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128])
def test_a_name_that_is_empty_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 255 bytes"):
        adapter_for("zmq+ipc:///tmp/bus", node_name=name)


async def test_a_message_for_one_node_is_sent_to_that_one_only(tmp_path: Path) -> None:
    where = f"zmq+ipc://{tmp_path}"
    async with here(where, "one") as one, here(where, "two"), here(where, "three") as three:
        await until(lambda: one.reaches(2))
        seen: list[bytes] = []
        take = Intake.take

        def spy(intake: Intake, data: bytes) -> None:
            seen.append(data)
            take(intake, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Intake, "take", spy)
            heard = three.hears("a")
            one.pubsub.direct_broadcast("three", "a", b"only three")
            await until(lambda: heard)
        assert len([data for data in seen if b"only three" in data]) == 1


# What is no message of ours.


async def send_foreign(address: str, *frames: bytes) -> None:
    """Speak ZeroMQ, but not our language."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.linger = 2000
    try:
        push.connect(address)
        for frame in frames:
            push.send(frame)
        while push.poll(0, zmq.POLLOUT) == 0:
            await asyncio.sleep(0.01)
    finally:
        push.close()
        await asyncio.to_thread(context.term)


FOREIGN = {
    "nothing": b"",
    "text": b"hello",
    "another version": b"bzq\x02" + head(MESSAGES, b"12345678", 1)[4:],
    "an unknown kind": head(99, b"12345678", 1),
    "a head cut short": head(MESSAGES, b"12345678", 1)[:12],
    "lengths cut short": head(MESSAGES, b"12345678", 1) + b"\0\0\0",
    "a topic that is not there": head(MESSAGES, b"12345678", 1) + struct.pack(">II", 5, 0),
    "data longer than the frame": head(MESSAGES, b"12345678", 1) + struct.pack(">II", 1, 2**32 - 1) + b"a",
    "a topic that is no UTF-8": head(MESSAGES, b"12345678", 1) + struct.pack(">II", 2, 0) + b"\xff\xff",
    "a name cut short": head(2, b"12345678", 1) + b"\xff\xffabc",
    "a goodbye cut short": head(4, b"12345678", 1) + b"1234567",
    "an answer with more": head(5, b"12345678", 1) + b"123456789",
    "a hello cut short": head(3, b"12345678", 1) + b"12345678",
    "a hello with no UTF-8": head(3, b"12345678", 1) + b"12345678\0\0\xff",
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_frames_that_are_not_ours_are_dropped_and_counted(what: str, tmp_path: Path) -> None:
    async with here(f"zmq+ipc://{tmp_path}") as one, here(f"zmq+ipc://{tmp_path}") as two:
        (file,) = sockets_in(tmp_path) - {next(iter(two.adapter.peers)).rpartition("/")[2]}
        await send_foreign(f"ipc://{tmp_path / file}", FOREIGN[what], FOREIGN[what])
        await until(lambda: two.adapter.refused == 2)
        await exchange(one, two)


async def test_many_foreign_frames_make_few_lines_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with here(f"zmq+ipc://{tmp_path}") as one:
        (file,) = sockets_in(tmp_path)
        await send_foreign(f"ipc://{tmp_path / file}", *[b"x"] * 50)
        for number in range(2000):
            one.adapter._intake.take(b"x%d" % number)  # type: ignore[union-attr]
        await until(lambda: one.adapter.refused == 2050)
        assert caplog.text.count("not ours") == 3


async def test_bytes_that_are_no_zeromq_do_not_disturb(tmp_path: Path) -> None:
    where = listed(free_addresses(2))
    async with here(where[0]) as one, here(where[1]) as two:
        host, _, port = where[0].rpartition("=")[2].rpartition(":")
        for garbage in (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", os.urandom(5000), b"\xff" + b"\0" * 100, b""):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            writer.close()
            del reader
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await exchange(one, two)


async def test_a_frame_larger_than_allowed_ends_only_its_senders_connection(tmp_path: Path) -> None:
    url = f"zmq+ipc://{tmp_path}?max_message_bytes=100000"
    async with here(url) as one, here(url) as two:
        (file,) = sockets_in(tmp_path) - {next(iter(two.adapter.peers)).rpartition("/")[2]}
        heard = two.hears("a")
        await send_foreign(
            f"ipc://{tmp_path / file}", head(MESSAGES, b"1" * 8, 1) + b"".join(record("a", b"x" * 500_000))
        )
        await exchange(one, two)
        assert heard == []


async def test_a_message_larger_than_allowed_is_not_sent_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"zmq+ipc://{tmp_path}?max_message_bytes=1000"
    async with here(url) as one, here(url) as two:
        heard = two.hears("a")
        one.adapter.publish("a", b"x" * 1000)  # with the topic, a byte too many
        one.adapter.publish_to(two.pubsub.node_name, "a", b"x" * 1000)
        assert [record.levelno for record in caplog.records if "max_message_bytes" in record.message] == [
            logging.ERROR
        ] * 2
        await exchange(one, two)
        one.pubsub.broadcast("a", b"x" * (1000 - 1 - 8 - 1))  # topic, head of a batch, letter of the codec
        await until(lambda: heard)


# Frames that come twice or late.


def intake(receive: Callable[[str, bytes], None]) -> Intake:
    return Intake("me", b"myself!!", receive, *[lambda *said: None] * 3)


def frame(sender: bytes, number: int, *messages: bytes) -> bytes:
    return head(MESSAGES, sender, number) + b"".join(b"".join(record("a", message)) for message in messages)


async def test_a_frame_that_comes_twice_or_after_a_newer_one_is_dropped() -> None:
    got: list[bytes] = []
    node = intake(lambda topic, data: got.append(data))
    for number in (1, 2, 2, 5, 4, 3, 6):
        node.take(frame(b"sender01", number, b"%d" % number))
    node.take(frame(b"sender02", 1, b"other"))
    assert got == [b"1", b"2", b"5", b"6", b"other"]
    assert node.refused == 0


async def test_an_own_frame_is_not_heard() -> None:
    got: list[bytes] = []
    intake(lambda topic, data: got.append(data)).take(frame(b"myself!!", 1, b"echo"))
    assert got == []


async def test_a_receiver_that_raises_does_not_cost_the_rest_of_a_frame() -> None:
    got: list[bytes] = []

    def receive(topic: str, data: bytes) -> None:
        if data == b"bad":
            raise RuntimeError("on purpose")
        got.append(data)

    intake(receive).take(frame(b"sender01", 1, b"1", b"bad", b"2"))
    assert got == [b"1", b"2"]


async def test_senders_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_intake, "REMEMBERED", 3)
    got: list[bytes] = []
    node = intake(lambda topic, data: got.append(data))
    for sender in (b"sender01", b"sender02", b"sender03", b"sender04", b"sender04"):
        node.take(frame(sender, 1, sender))
    assert got == [b"sender01", b"sender02", b"sender03", b"sender04"]
    assert len(node._heard) == 3


async def test_a_flood_lets_the_loop_run_in_between() -> None:
    turns = 0

    class Flood:
        """A socket that always has one more frame."""

        number = 0

        def recv(self, flags: int) -> bytes:
            self.number += 1
            return frame(b"sender01", self.number, b"x")

        def fileno(self) -> int:
            return reader.fileno()

        def close(self) -> None:
            pass

    reader, writer = socket.socketpair()
    with reader, writer:
        node = intake(lambda topic, data: time.sleep(0.0005))
        flood: Any = Flood()
        node.attach(flood)
        begin = asyncio.get_running_loop().time()
        while turns < 20:
            await asyncio.sleep(0)
            turns += 1
        node.detach()
        # Twenty turns of two milliseconds; without slices there would have been no second one.
        assert asyncio.get_running_loop().time() - begin < 5.0
        assert flood.number >= 20

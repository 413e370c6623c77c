"""The test kit beside a FastAPI application's own tests, with starlette's TestClient."""

import contextlib
import warnings
from typing import Any

import pytest
from fastapi import FastAPI

from broadwing import Channel, Endpoint, Socket, on
from broadwing.testing import ChannelTest, channel_test

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones would rather have httpx2
    from starlette.testclient import TestClient

orders: list[dict[str, Any]] = []


class OrdersChannel(Channel):
    async def join(self, params: Any) -> dict[str, Any]:
        """Tell what is there."""
        return {"orders": list(orders)}

    @on("order")
    async def order(self, payload: dict[str, Any]) -> None:
        orders.append(payload)
        self.broadcast("created", payload)


class UserSocket(Socket):
    channels = {"orders": OrdersChannel}


@pytest.fixture
def endpoint() -> Endpoint:
    """A FastAPI application with an endpoint around it."""
    orders.clear()
    app = FastAPI()
    endpoint = Endpoint(app=app)
    endpoint.socket("/socket", UserSocket)

    @app.post("/orders")
    def create(order: dict[str, Any]) -> dict[str, Any]:
        orders.append(order)
        endpoint.broadcast("orders", "created", order)
        return order

    @app.get("/orders")
    async def index() -> list[dict[str, Any]]:
        return orders

    return endpoint


@pytest.mark.parametrize("around", ["the application", "the endpoint"])
@pytest.mark.parametrize("order", [["lifespan", "kit"], ["kit", "lifespan"], ["kit"]], ids="-".join)
def test_a_request_reaches_clients_and_a_client_reaches_requests(
    endpoint: Endpoint, around: str, order: list[str]
) -> None:
    client = TestClient(endpoint.app if around == "the application" else endpoint)
    test = channel_test(endpoint)
    with contextlib.ExitStack() as opened:
        for each in order:
            opened.enter_context(test if each == "kit" else client)
        room = test.subscribe_and_join("orders")
        assert client.post("/orders", json={"n": 1}).json() == {"n": 1}
        room.assert_push("created", {"n": 1})
        room.assert_broadcast("created", {"n": 1})
        room.push("order", {"n": 2})
        room.assert_push("created", {"n": 2})
        assert client.get("/orders").json() == [{"n": 1}, {"n": 2}]
        assert test.join("orders").reply == {"orders": [{"n": 1}, {"n": 2}]}
    assert not endpoint.is_started


async def test_in_a_coroutine_too(endpoint: Endpoint) -> None:
    client = TestClient(endpoint)
    async with ChannelTest(endpoint, timeout=30) as test:
        room = await test.join("orders")
        assert client.post("/orders", json={"n": 1}).status_code == 200
        await room.assert_push("created", {"n": 1})

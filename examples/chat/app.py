"""The chat's server: who may come in, which rooms there are, and what becomes of a message.

`make chat` runs it. What the browser gets is in page.py and static/.
"""

import os
import secrets
import time
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from broadwing import Channel, Endpoint, JoinError, Ok, Presence, Socket, Token, intercept, on
from examples.chat.page import Page

# Who knows the secret can log in as anybody, and this one is for all to read: set SECRET_KEY_BASE where it matters.
# It has to outlive the process: the pages that are open keep their tokens when the server starts anew.
SECRET = os.environ.get("SECRET_KEY_BASE", "for development only, as everybody can read it here")
TWO_WEEKS = 14 * 24 * 60 * 60

# The last messages by user and id, for who comes, or comes back. They go with the process; where they have to stay, or
# where several processes serve one room, this is a table in a database.
recent: dict[tuple[str, str], dict[str, Any]] = {}
MOST_RECENT = 100


# What clients may send. Anything else is answered with an error that names the field; no handler ever sees it.


class Join(Struct):
    """`notices`: does the user want to know who joins? `again`: is the page back from a lost connection?"""

    notices: bool = True
    again: bool = False


class Message(Struct):
    """`body`: something besides blanks. `id`: the page's own name for it, by which all know it again."""

    body: Annotated[str, Meta(max_length=1000, pattern=r"\S")]
    id: Annotated[str, Meta(min_length=1, max_length=64)] = field(default_factory=lambda: secrets.token_hex(12))


class Notices(Struct):
    """`show`: as `Join.notices`, changed later."""

    show: bool


class RoomChannel(Channel):
    """One user in one room."""

    async def join(self, params: Join) -> dict[str, Any]:
        """Let everybody into the lobby, and nobody anywhere else; tell what was said there."""
        if self.topic != "room:lobby":
            raise JoinError({"reason": "unauthorized"})
        self.assign(notices=params.notices)
        self.send_info("again" if params.again else "joined")  # only a joined channel may push and broadcast
        return {"messages": list(recent.values())}

    async def handle_info(self, message: Any) -> None:
        """Show the user as present, and tell the page who is; tell the others of somebody new."""
        user = self.assigns["user"]
        presence.track(self, user)  # until this channel ends, however it does; a user's tabs are one entry
        self.push("presence_state", await presence.list(self))
        if message == "joined":
            self.broadcast_from("user_joined", {"user": user})

    @on("new_msg")
    async def new_msg(self, message: Message) -> Ok:
        """Send it to everybody; the ok tells the sender's page that it was delivered."""
        user = self.assigns["user"]
        # A page that has lost the answer with its connection sends the message again: the ok is what it wants then.
        if (user, message.id) not in recent:
            said = {"user": user, "body": message.body, "id": message.id, "at": time.time()}
            remember(said)
            self.broadcast("new_msg", said)
        return Ok()

    @on("typing")
    async def typing(self) -> None:
        """Tell the others that something is on its way."""
        self.broadcast_from("typing", {"user": self.assigns["user"]})

    @on("notices")
    async def notices(self, choice: Notices) -> Ok:
        """Remember what the user wants to see."""
        self.assign(notices=choice.show)
        return Ok()

    @intercept("user_joined")
    async def user_joined(self, notice: Any) -> None:
        """Decide, for each user in the room, whether the notice reaches the page."""
        if self.assigns["notices"]:
            self.push("user_joined", notice)


class UserSocket(Socket):
    """One page's connection."""

    channels = {"room:*": RoomChannel}

    async def connect(self, params: Any, info: Any) -> None:
        """Let in who brings a token of ours; any other is refused, as `Token.verify` raises."""
        self.assign(user=Token.verify(self.endpoint, "user socket", info["auth_token"], max_age=TWO_WEEKS))

    def id(self) -> str:
        """`endpoint.broadcast("users_socket:Ada", "disconnect", {})` ends all of Ada's connections."""
        return f"users_socket:{self.assigns['user']}"


def remember(said: dict[str, Any]) -> None:
    """Keep a message, and let go of the oldest when there are many."""
    recent[said["user"], said["id"]] = said
    if len(recent) > MOST_RECENT:
        del recent[next(iter(recent))]


def log_in(name: str) -> str:
    """Give the page its token. An application with accounts checks a password first."""
    return Token.sign(SECRET, "user socket", name)


endpoint = Endpoint(app=Page(log_in), secret_key_base=SECRET)
presence = Presence(endpoint)
endpoint.socket("/socket", UserSocket, longpoll=True, auth_token=True)

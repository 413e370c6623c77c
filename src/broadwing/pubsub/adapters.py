"""Which adapter a URL means."""

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.local import LocalAdapter


def adapter_for(url: str, *, node_name: str | None = None) -> Adapter:
    """Make the adapter that a URL names.

    Args:
        url: `local://`: this process alone. `zmq+ipc:///directory`: the processes of one machine, without a broker.
            `zmq://host:port,host:port?bind=ip:port`: several machines, without a broker.
        node_name: This node's name on the bus; by default one that no other has.

    Raises:
        ConfigurationError: The URL names no adapter, or one that can never work.
    """
    scheme = url.partition("://")[0]
    if scheme == "local":
        return LocalAdapter(node_name)
    if scheme in ("zmq", "zmq+ipc"):
        # Here, so that a process that is alone does not load libzmq.
        from broadwing.pubsub.zmq import ZmqAdapter

        return ZmqAdapter(url, node_name)
    raise ConfigurationError(
        f"pubsub={url!r} names no adapter; accepted are local:// (this process alone), zmq+ipc:///directory (the processes "
        "of one machine) and zmq://host:port,host:port?bind=ip:port (several machines)"
    )

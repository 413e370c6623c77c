"""Which adapter a URL means."""

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.local import LocalAdapter


def adapter_for(url: str, *, node_name: str | None = None) -> Adapter:
    """Make the adapter that a URL names.

    Args:
        url: `local://`: this process alone. `zmq+ipc:///directory`: the processes of one machine, without a broker.
            `zmq://host:port,host:port?bind=ip:port`: several machines, without a broker. `redis://host`, `nats://host` and
            their kin: over a broker; what else they may say is at the head of `broadwing.pubsub.redis` and `.nats`.
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
    if scheme.partition("+")[0] in ("redis", "rediss", "valkey", "valkeys"):
        try:
            from broadwing.pubsub.redis import RedisAdapter
        except ModuleNotFoundError as error:
            raise _missing(scheme, "redis", error) from error
        return RedisAdapter(url, node_name)
    if scheme in ("nats", "nats+tls"):
        try:
            from broadwing.pubsub.nats import NatsAdapter
        except ModuleNotFoundError as error:
            raise _missing(scheme, "nats", error) from error
        return NatsAdapter(url, node_name)
    # The rest of the URL may hold a password.
    raise ConfigurationError(
        f"pubsub={scheme!r} names no adapter; accepted are local:// (this process alone), zmq+ipc:///directory (the processes "
        "of one machine), zmq://host:port,host:port?bind=ip:port (several machines), redis://host (also with rediss, valkey, "
        "+cluster and +sentinel) and nats://host (also nats+tls)"
    )


def _missing(scheme: str, extra: str, error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"pubsub={scheme}://... needs the package {error.name}, which is not installed; pip install 'broadwing[{extra}]' brings it"
    )

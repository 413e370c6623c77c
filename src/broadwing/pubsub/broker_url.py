"""What URLs of brokers have in common: several hosts, credentials, TLS, and options behind `?`."""

import re
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from broadwing.exceptions import ConfigurationError

PREFIX: Final = "broadwing"
"""What separates applications on one broker, unless `?prefix=` says otherwise."""

TLS_OPTIONS: Final = frozenset({"tls_ca", "tls_cert", "tls_key", "tls_verify"})
QUEUE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Host:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BrokerURL:
    """A URL's content.

    Attributes:
        scheme: What stands before `://`.
        username: The part of the credentials before the colon, or all of them.
        password: The part after it.
        hosts: The servers, at least one.
        path: What follows the hosts, without the slash.
        options: What follows the question mark.
    """

    scheme: str
    username: str | None
    password: str | None
    hosts: tuple[Host, ...]
    path: str
    options: dict[str, str]

    @property
    def shown(self) -> str:
        """The URL as it may stand in a log."""
        return f"{self.scheme}://{','.join(map(str, self.hosts))}{'/' + self.path if self.path else ''}"

    def number(self, name: str, default: int) -> int:
        """An option that is a whole number.

        Raises:
            ConfigurationError: It is none.
        """
        value = self.options.get(name, str(default))
        if not re.fullmatch("[0-9]{1,10}", value):
            raise ConfigurationError(
                f"pubsub={self.shown}: {name}={value!r} is no number; an example is {name}={default}"
            )
        return int(value)

    def tls(self) -> ssl.SSLContext:
        """How to trust the servers, and how to be known to them.

        Raises:
            ConfigurationError: An option is wrong, or a file cannot be read.
        """
        verify = self.options.get("tls_verify", "full")
        if verify not in ("full", "ca", "none"):
            raise ConfigurationError(
                f"pubsub={self.shown}: tls_verify={verify!r} is unknown; accepted are full (certificate and host name), "
                "ca (certificate alone) and none"
            )
        key, certificate, authority = (self.options.get(name) for name in ("tls_key", "tls_cert", "tls_ca"))
        if key is not None and certificate is None:
            raise ConfigurationError(f"pubsub={self.shown}: tls_key needs tls_cert, the certificate it belongs to")
        try:
            context = ssl.create_default_context(cafile=authority)
            if certificate is not None:
                context.load_cert_chain(certificate, key)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"pubsub={self.shown}: tls_ca, tls_cert and tls_key have to name files in PEM form: {error}"
            ) from error
        context.check_hostname = verify == "full"
        context.verify_mode = ssl.CERT_NONE if verify == "none" else ssl.CERT_REQUIRED
        return context


def parse(url: str, *, default_port: int, accepted: frozenset[str]) -> BrokerURL:
    """Read a URL.

    Args:
        url: `scheme://[user[:password]@]host[:port][,host[:port]...][/path][?name=value&...]`; credentials and path are
            percent-encoded.
        default_port: For hosts without one.
        accepted: Names that options may have.

    Raises:
        ConfigurationError: It cannot be read. The message does not repeat credentials.
    """
    scheme, _, rest = url.partition("://")
    target, _, query = rest.partition("?")
    authority, _, path = target.partition("/")
    if "@" in path or "@" in query:
        # The hosts cannot be told from what may be half a password, so nothing of it is repeated.
        raise ConfigurationError(
            f"pubsub={scheme}://... has an @ behind a / or ?; in credentials / is written %2F and ? %3F, elsewhere @ is %40"
        )
    credentials, _, names = authority.rpartition("@")
    shown = f"{scheme}://{names}"
    username, has_password, password = credentials.partition(":")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in accepted:
            raise ConfigurationError(
                f"pubsub={shown} has an option {name!r}; accepted here are {', '.join(sorted(accepted))}"
            )
        if name in options or not value:
            raise ConfigurationError(f"pubsub={shown} needs one value for {name!r}, not none or several")
        options[name] = value
    return BrokerURL(
        scheme,
        unquote(username) or None,
        unquote(password) if has_password else None,
        tuple(_host(shown, text, default_port) for text in names.split(",")),
        unquote(path),
        options,
    )


def _host(shown: str, text: str, default_port: int) -> Host:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]*))(?::([0-9]{1,5}))?", text)
    if found is None or not 0 < int(found[3] or default_port) < 65_536:
        raise ConfigurationError(
            f"pubsub={shown} has {text!r} where host or host:port is needed; IPv6 addresses are written [::1]:{default_port}. "
            "In credentials, @ : / and ? are percent-encoded"
        )
    return Host(found[1] or found[2] or "localhost", int(found[3] or default_port))

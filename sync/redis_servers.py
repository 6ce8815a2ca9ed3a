"""Redis by its URL: one server, or the server that sentinels name as the master now.

    sentinel://[:password@]host[:port][,host[:port]…]/name[/db][?sentinel_password=…]

The password is that of Redis; `name` is what the sentinels call the master.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

SCHEME: Final = "sentinel://"
SENTINEL_PORT: Final = 26379
# A sentinel that does not answer is skipped.
SENTINEL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the sentinels are, and which master they watch."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    database: int = 0
    user: str = ""
    password: str = ""
    sentinel_password: str = ""

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """The options of connections to sentinels; without its retry, redis-py waits for a silent sentinel."""
        options: dict[str, Any] = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
        options["retry"] = Retry(NoBackoff(), 0)
        return options | ({"password": self.sentinel_password} if self.sentinel_password else {})

    @property
    def broker_url(self) -> str:
        """The URL as Celery takes it: one for each sentinel."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        return ";".join(f"{SCHEME}{login}{host}:{port}/{self.database}" for host, port in self.hosts)

    @property
    def broker_options(self) -> dict[str, Any]:
        return {"master_name": self.name, "sentinel_kwargs": self.sentinel_options}


def parse_sentinels(url: str) -> SentinelAddress | None:
    """Return the sentinels of a URL, None for a URL of one server; raises ValueError for a malformed URL."""
    parts = urlsplit(url)
    if not url.startswith(SCHEME):
        _ = parts.port, int(parts.path.strip("/") or 0)  # either raises ValueError where it is no number
        return None
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    name, _, database = parts.path.strip("/").partition("/")
    hosts = tuple(parse_host(place) for place in places.split(","))
    if not name:
        raise ValueError("no name of a master")
    [sentinel_password] = parse_qs(parts.query).get("sentinel_password", [""])
    return SentinelAddress(
        hosts, unquote(name), int(database or 0), unquote(user), unquote(password), sentinel_password
    )


def parse_host(text: str) -> tuple[str, int]:
    """Return host and port; raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or SENTINEL_PORT


def connect_redis(url: str, **options: Any) -> Redis:
    """Return a client, which connects when it is used; with sentinels, it asks them after each lost connection."""
    address = parse_sentinels(url)
    if address is None:
        return Redis.from_url(url, **options)
    login = {"username": address.user or None, "password": address.password or None, "db": address.database}
    sentinel = Sentinel(address.hosts, sentinel_kwargs=address.sentinel_options, **login, **options)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(address.name)  # type: ignore[no-untyped-call]
    return client


def build_broker(url: str) -> tuple[str, dict[str, Any]]:
    """Return URL and options of Celery's transport; the checks report a malformed URL."""
    try:
        address = parse_sentinels(url)
    except ValueError:
        return "redis://unset", {}
    return (url or "redis://unset", {}) if address is None else (address.broker_url, address.broker_options)

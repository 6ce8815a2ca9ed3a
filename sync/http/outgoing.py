"""One request to an address that a person or a setting gave: bounded, never redirected, never into the own network."""

import ipaddress
import re
import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass

import httpcore2
import httpx2

from sync.errors import ErrorCode, SyncError
from sync.http import network
from sync.http.address import PORTS, get_url_origin, parse_allowed_host
from sync.http.body import NETWORK_ERRORS, read_excerpt
from sync.http.bounds import Bounds
from sync.http.deadline import DEADLINE, Deadline
from sync.http.errors import describe_failure, format_header
from sync.http.exchange import CONNECT_SECONDS, REDIRECTS, get_user_agent

BOUNDS = Bounds(timeout=10.0, attempts=1, exchange_seconds=20.0, error_bytes=4096)
LONGEST_URL = 2000
SHORTEST_SECRET = 4
# The NAT64 prefix: an IPv4 address, which may be private, is in the last four bytes.
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RequestRefused(SyncError):
    """A request that may not be made: its address is malformed, not encrypted, or in the own network."""

    default_code = ErrorCode.HOST_NOT_ALLOWED


class RequestFailed(SyncError):
    """A request that got no success as an answer; another attempt may."""

    default_code = ErrorCode.VENDOR_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes; `is_allowed`: the settings name its host, so it may be in the own network."""

    url: httpx2.URL
    is_allowed: bool


def parse_target(address: str, allowed_hosts: Collection[str]) -> Target:
    """Return the target of a request; raises RequestRefused for a request that may not be made.

    Hosts of `allowed_hosts` may be private and, with a port, be contacted without TLS; every other host needs https
    and a public address, which `send_request` checks where it connects.
    """
    try:
        url = httpx2.URL(address)
    except (httpx2.InvalidURL, TypeError, ValueError):
        raise RequestRefused("The address is not a web address.") from None
    scheme, host, port = get_url_origin(url)
    if len(address) > LONGEST_URL or scheme not in PORTS or not host or not address.isprintable():
        raise RequestRefused("The address must begin with https:// and name a host.")
    if url.userinfo or url.fragment:
        raise RequestRefused("The address must not hold a user name or a fragment.")
    ports = {allowed for name, allowed in map(parse_allowed_host, allowed_hosts) if name == host}
    is_default = (scheme, port) == ("https", 443)
    if {"*", str(port)} & ports or (is_default and "" in ports):
        return Target(url, is_allowed=True)
    if scheme != "https":
        raise RequestRefused(f"{host} is only spoken to over https, unless the settings allow it with its port.")
    if is_private_name(host):
        raise RequestRefused(build_refusal(host))
    return Target(url, is_allowed=False)


def is_private_name(host: str) -> bool:
    """Return whether a host is a private address, or a name that is never public; other names are to be looked up."""
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet; raises ValueError where it is no address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.sixtofour or ip.teredo:
            return False
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.is_global and not ip.is_multicast


def build_refusal(host: str) -> str:
    """Return why a host is refused."""
    return (
        f"{host} is an address of a private network, where no request of the portal goes. The administrator of the "
        "portal may allow the host by its settings."
    )


def check_address(address: str) -> None:
    """Raise RequestRefused for an address that is not public."""
    if not is_public(address):
        raise RequestRefused(build_refusal(address))


def send_request(
    method: str, target: Target, content: bytes, headers: Mapping[str, str], bounds: Bounds = BOUNDS
) -> None:
    """Send a request; raises RequestRefused where it may not be made, RequestFailed where its answer is no success.

    A name is looked up once, and the connection goes to an address that was checked. A proxy that the environment
    names connects in place of the portal; then the name is checked beforehand.
    """
    url, host = target.url, target.url.netloc.decode()
    token = DEADLINE.set(deadline := Deadline(bounds, threading.Event()))
    try:
        is_proxied = network.find_proxy(url) is not None
        if is_proxied and not target.is_allowed:
            check_name(url)
        request = build_request(method, url, content, headers, bounds)
        guard = None if target.is_allowed or is_proxied else check_address
        with network.open_pool(url, 1, guard) as pool, closing(pool.handle_request(request)) as response:
            if not 200 <= response.status < 300:
                raise RequestFailed(describe_answer(url, response, bounds, deadline))
    except NETWORK_ERRORS as error:
        failure = describe_failure(error, host, bounds)
        raise RequestFailed(failure.reason, code=failure.code) from None
    finally:
        DEADLINE.reset(token)


def build_request(
    method: str, url: httpx2.URL, content: bytes, headers: Mapping[str, str], bounds: Bounds
) -> httpcore2.Request:
    """Return the request."""
    fields = {"Host": url.netloc.decode(), "User-Agent": get_user_agent(), "Accept": "*/*", **headers}
    if content:
        fields["Content-Length"] = str(len(content))
    timeouts = {"connect": CONNECT_SECONDS, "read": bounds.timeout, "write": bounds.timeout}
    return httpcore2.Request(
        method,
        network.build_url(url),
        headers=httpx2.Headers(fields).raw,
        content=content or None,
        extensions={"timeout": timeouts},
    )


def check_name(url: httpx2.URL) -> None:
    """Raise RequestRefused where a host's name leads to a private address; a name known only to the proxy does not."""
    try:
        addresses = network.resolve_host(url.host, url.port or PORTS[url.scheme], CONNECT_SECONDS)
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
        return
    for address in addresses:
        check_address(address)


def describe_answer(url: httpx2.URL, response: httpcore2.Response, bounds: Bounds, deadline: Deadline) -> str:
    """Return the answer to a failed request as a sentence."""
    host = url.netloc.decode()
    if response.status in REDIRECTS:
        return f"{host} answered with a redirect (HTTP {response.status}), which is not followed: give its address."
    headers = httpx2.Headers(response.headers)
    excerpt = read_excerpt(response.stream, headers, bounds, deadline)  # type: ignore[arg-type]  # a stream of bytes
    text = " ".join(excerpt.decode(errors="replace").split())
    if any(part in text for part in re.split(r"[/?&=]", url.raw_path.decode()) if len(part) >= SHORTEST_SECRET):
        text = ""  # Many servers repeat the path of a request, which may be a secret.
    return f"{host} answered with HTTP {response.status}{f': {format_header(text)}' if text else ''}."

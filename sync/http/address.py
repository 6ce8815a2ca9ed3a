"""Where the portal may send a request to, and its credential with it."""

import re
from collections.abc import Collection

from httpx2 import URL, InvalidURL

from sync.errors import ErrorCode, HostNotAllowed

PORTS = {"https": 443, "http": 80}
# An entry of PORTAL_ALLOWED_VENDOR_HOSTS: without a port it means 443, with `*` every port.
ALLOWED_HOST = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:(?P<port>[1-9]\d{0,4}|\*))?", re.IGNORECASE
)
LARGEST_PORT = 65_535


def get_url_origin(url: URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port of `url`, the scheme's own port where it names none."""
    return url.scheme, url.host, url.port or PORTS.get(url.scheme)


def parse_base_url(base_url: str, hosts: Collection[str], allowed_hosts: Collection[str]) -> URL:
    """Return `base_url` parsed; raises HostNotAllowed where no request may go there.

    The vendor's own `hosts`, and entries of PORTAL_ALLOWED_VENDOR_HOSTS (`allowed_hosts`) without a port, are spoken
    to over https on its own port only; entries with a port on that port, also without TLS.
    """
    try:
        url = URL(base_url.rstrip("/"))
    except InvalidURL:
        raise build_error("The base URL is not a web address.") from None
    scheme, host, port = get_url_origin(url)
    if scheme not in PORTS or not host:
        raise build_error("The base URL must begin with https:// and name a host.")
    if url.userinfo or url.query or url.fragment:
        raise build_error("The base URL must not hold a user name, a query or a fragment.")
    default = (scheme, port) == ("https", 443)
    ports = {allowed for name, allowed in map(parse_allowed_host, allowed_hosts) if name == host}
    if {"*", str(port)} & ports or (default and "" in ports):
        return url
    if host not in hosts and not ports:
        raise HostNotAllowed(
            f"{host} is not one of this vendor's hosts ({', '.join(sorted(hosts))}), "
            "nor in PORTAL_ALLOWED_VENDOR_HOSTS."
        )
    if host not in hosts:
        raise HostNotAllowed(f"PORTAL_ALLOWED_VENDOR_HOSTS names {host} for {describe_ports(ports)}, not port {port}.")
    if not default:
        raise build_error(f"{host} is only spoken to over https, on port 443.")
    return url


def parse_allowed_host(entry: str) -> tuple[str, str]:
    """Return the host and the port of an entry of PORTAL_ALLOWED_VENDOR_HOSTS.

    The port is "" for none and "*" for every port. An entry that is not valid is the host "", which no URL has.
    """
    match = ALLOWED_HOST.fullmatch(entry.strip())
    if match is None or ((match["port"] or "").isdigit() and int(match["port"]) > LARGEST_PORT):
        return "", ""
    return match["host"].strip("[]").lower(), match["port"] or ""


def describe_ports(ports: Collection[str]) -> str:
    """Return e.g. `https on port 443` or `port 8080`, for the entries of one host."""
    return ", ".join(f"port {port}" if port else "https on port 443" for port in sorted(ports))


def build_error(reason: str) -> HostNotAllowed:
    """Return the error of a base URL that is wrong in itself."""
    return HostNotAllowed(reason, code=ErrorCode.BASE_URL_INVALID)

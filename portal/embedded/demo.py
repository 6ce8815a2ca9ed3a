"""The data of the demo: sources that read the sandbox, a login and a token, created once."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import User

from portal.accounts.models import ApiToken, Scope, create_token
from portal.embedded.paths import write_private
from portal.embedded.server import free_port
from sync.sandbox.world import World
from sync.sources import fill_defaults
from sync.vendors import readers
from usage.models import Source

LOGIN = "admin"
SANDBOX_PORT = 8900
FILE = "demo.json"


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo prints at its start."""

    sandbox_port: int
    password: str
    token: str


def create_demo(data_dir: Path, port: int) -> Demo:
    """Create the sources, the login and the token, where they are missing, in a migrated database.

    The secrets are stored, with the `port` of the portal, in `demo.json` of the data folder, mode 0600. The sandbox
    keeps its port while that is free; otherwise the sources are pointed to the new port.
    """
    stored = read_stored(data_dir)
    demo = Demo(
        sandbox_port=free_port(stored.get("sandbox_port", SANDBOX_PORT)),
        password=ensure_login(stored.get("password", "")),
        token=ensure_token(stored.get("token", "")),
    )
    write_private(data_dir / FILE, json.dumps({"port": port, **asdict(demo)}, indent=1))
    for vendor in readers():
        ensure_source(vendor, demo.sandbox_port)
    return demo


def read_stored(data_dir: Path) -> dict[str, Any]:
    """Return what the last start of the demo has stored, nothing before the first."""
    path = data_dir / FILE
    return json.loads(path.read_text()) if path.exists() else {}


def ensure_login(stored: str) -> str:
    """Return the password of the login, created if missing; '' for a login that exists with an unknown password."""
    if User.objects.filter(username=LOGIN).exists():
        return stored
    password = stored or token_urlsafe(12)
    User.objects.create_superuser(LOGIN, password=password)
    return password


def ensure_token(stored: str) -> str:
    """Return the secret of a token with all scopes: the stored token if it is usable, else a new token."""
    if stored and ApiToken.objects.get_usable(stored, datetime.now(UTC)):
        return stored
    return create_token("Demo", Scope.values)[1]


def ensure_source(vendor: str, port: int) -> None:
    """Create the source `<vendor>-demo` for the sandbox at `port`, or point it there; its other settings stay."""
    world, reader = World(), readers()[vendor]
    base_url = f"http://127.0.0.1:{port}/{vendor}{urlsplit(reader.base_url).path}"
    slug = f"{vendor}-demo"
    if not Source.objects.filter(slug=slug).update(base_url=base_url):
        values = {"slug": slug, "vendor": vendor, "base_url": base_url, "credential": world.credential}
        Source(**fill_defaults(values | {"time_zone": reader.time_zone or world.zone})).save()

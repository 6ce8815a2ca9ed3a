"""The demo: stand-in vendors as sources, a staff login and a token, made once and kept."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import urlsplit

from django.contrib.auth.models import User

from portal.models import ApiToken, Scope, create_token
from portal.services.home import write_private
from portal.services.server import free_port
from sync.sandbox.world import World
from sync.sources import filled_in
from sync.vendors import readers
from usage.models import Source

LOGIN = "admin"
SANDBOX_PORT = 8900


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo shows at its start; the next one shows the same."""

    sandbox_port: int
    password: str
    token: str


def prepare(data_dir: Path) -> Demo:
    """Make what the demo needs and does not have yet: sources, login and token. The database is migrated.

    The secrets are kept in `demo.json` of the data folder, mode 0600. The sandbox's port stays the same while it
    is free; the sources follow it to another one.
    """
    path = data_dir / "demo.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    demo = Demo(
        sandbox_port=free_port(kept.get("sandbox_port", SANDBOX_PORT)),
        password=staff_password(kept.get("password", "")),
        token=token_secret(kept.get("token", "")),
    )
    write_private(path, json.dumps(asdict(demo), indent=1))
    for vendor in readers():
        point_source(vendor, demo.sandbox_port)
    return demo


def staff_password(kept: str) -> str:
    """Return the password of the staff login, which is made if it is missing.

    Empty where the login exists with a password that is not known here; it is left as it is.
    """
    if User.objects.filter(username=LOGIN).exists():
        return kept
    password = kept or token_urlsafe(12)
    User.objects.create_superuser(LOGIN, password=password)
    return password


def token_secret(kept: str) -> str:
    """Return the secret of a token that may do everything: the kept one while it opens, else a new one."""
    if kept and ApiToken.objects.of_secret(kept, datetime.now(UTC)):
        return kept
    return create_token("Demo", Scope.values)[1]


def point_source(vendor: str, port: int) -> None:
    """Have the source `<vendor>-demo` read the vendor's stand-in at `port`; what else a person set stays."""
    world, reader = World(), readers()[vendor]
    base_url = f"http://127.0.0.1:{port}/{vendor}{urlsplit(reader.base_url).path}"
    slug = f"{vendor}-demo"
    if not Source.objects.filter(slug=slug).update(base_url=base_url):
        given = {"slug": slug, "vendor": vendor, "base_url": base_url, "credential": world.credential}
        Source(**filled_in(given | {"time_zone": reader.time_zone or world.zone})).save()

"""The environment and the `.env` file beside manage.py, read the same way by settings and services."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
FALSE_WORDS = frozenset({"false", "off", "no", "n", "f", "0", ""})
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "on or off"}


# smtp: in the clear; smtp+tls: encrypted once connected; smtps: encrypted from the start.
MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server, as Django's settings want it."""

    backend: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False


class Environment(environ.Env):  # type: ignore[misc]  # django-environ has no annotations
    """The environment's variables, read by type.

    A value that cannot be read does not raise: the default stands in, and `unreadable` says what the variable
    should be, by its name. The start-up checks report that, all variables at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: dict[str, str] = {}

    def get_value(self, var: str, cast: Any = None, default: Any = "", parse_default: bool = False) -> Any:
        """Return the variable's value as `cast`, or `default` where it is unset, empty or unreadable."""
        if not self.ENVIRON.get(var, "").strip():
            return default
        try:
            value = super().get_value(var, cast, default, parse_default)
        except (ValueError, TypeError):
            return self._refused(var, KINDS[cast], default)
        if cast is bool and not value and self.ENVIRON[var].strip().lower() not in FALSE_WORDS:
            return self._refused(var, KINDS[bool], default)
        return value

    def choice(self, var: str, choices: tuple[str, ...], default: str) -> str:
        """Return the variable's value, one of `choices`."""
        value = str(self.str(var, default=default))
        if value not in choices:
            self._refused(var, f"one of {', '.join(choices)}", default)
            return default
        return value

    def database(self, var: str) -> dict[str, Any]:
        """Return the database that the URL in the variable names, as Django wants it."""
        try:
            return dict(self.db_url_config(self.str(var, default="") or "postgres://"))
        except (ValueError, environ.ImproperlyConfigured):
            self._refused(var, "a URL like postgres://user:password@host:5432/name", None)
            return {"NAME": ""}

    def mail(self, var: str) -> "Mail":
        """Return the mail server that the URL in the variable names; without one, a backend that sends nothing."""
        url = str(self.str(var, default=""))
        if not url:
            return Mail("django.core.mail.backends.dummy.EmailBackend")
        try:
            parts = urlsplit(url)
            port = parts.port or MAIL_PORTS[parts.scheme]
        except (ValueError, KeyError):
            self._refused(var, "a URL like smtp+tls://user:password@mail.example.com:587", None)
            return Mail("django.core.mail.backends.dummy.EmailBackend")
        return Mail(
            "django.core.mail.backends.smtp.EmailBackend",
            parts.hostname or "localhost",
            port,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            starttls=parts.scheme == "smtp+tls",
            tls=parts.scheme == "smtps",
        )

    def _refused(self, var: str, kind: str, default: Any) -> Any:
        self.unreadable[var] = kind
        return default


def program() -> str:
    """Return what this process is: `manage.py sync`, `celery`, `granian`; at most as long as PostgreSQL takes it."""
    name = Path(sys.argv[0]).name
    return f"{name} {sys.argv[1]}"[:63] if name == "manage.py" and len(sys.argv) > 1 else name[:63]


def read_environment() -> Environment:
    """Return the environment, completed from `.env`; variables that are set already win over the file.

    `PORTAL_IGNORE_DOTENV=1` leaves the file out, as the tests do.
    """
    env = Environment()
    if not env.bool("PORTAL_IGNORE_DOTENV", default=False):
        env.read_env(BASE_DIR / ".env", overwrite=False)
    return env

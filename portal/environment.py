"""Reads the environment and the `.env` file beside manage.py, for settings and embedded servers."""

import sys
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
FALSE_WORDS = frozenset({"false", "off", "no", "n", "f", "0", ""})
TYPE_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "on or off"}


# smtp: in the clear; smtp+tls: encrypted once connected; smtps: encrypted from the start.
MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Django's settings of a mail server."""

    backend: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False


class EnvironmentVariables(environ.Env):  # type: ignore[misc]  # django-environ has no annotations
    """The variables of the environment, read by type.

    A malformed value does not raise: the default is used, and `unreadable` maps the variable to what it should be.
    The start-up checks report all of them at once. `names`: the variables that were read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: dict[str, str] = {}
        self.names: set[str] = set()

    def get_value(self, var: str, cast: Any = None, default: Any = "", parse_default: bool = False) -> Any:
        """Return the value as `cast`, or `default` if it is unset, empty or malformed.

        Not by django-environ, to which a value that begins with `$`, such as a password, is the name of a variable.
        """
        self.names.add(var)
        if not self.ENVIRON.get(var, "").strip():
            return default
        try:
            value = self.parse_value(self.ENVIRON[var], cast)
        except (ValueError, TypeError):
            return self._add_unreadable(var, TYPE_NAMES[cast], default)
        if cast is bool and not value and self.ENVIRON[var].strip().lower() not in FALSE_WORDS:
            return self._add_unreadable(var, TYPE_NAMES[bool], default)
        return value

    @classmethod
    def parse_value(cls, value: Any, cast: Any) -> Any:
        """Return a text as `cast`; raises ValueError.

        django-environ keeps the spaces around the items of a list, and leaves what is no digit out of a number: `5%`
        would be 5, and `1e3` 13.
        """
        if cast is list:
            return [item for part in value.split(",") if (item := part.strip())]
        if cast is float:
            number = float(value)
            if not isfinite(number):
                raise ValueError(f"{value} is no number")
            return number
        return super().parse_value(value, cast)

    def choice(self, var: str, choices: tuple[str, ...], default: str) -> str:
        """Return the value, one of `choices`."""
        value = str(self.str(var, default=default))
        if value not in choices:
            self._add_unreadable(var, f"one of {', '.join(choices)}", default)
            return default
        return value

    def database(self, var: str) -> dict[str, Any]:
        """Return Django's settings for the database URL in the variable."""
        try:
            return dict(self.db_url_config(self.str(var, default="") or "postgres://"))
        except (ValueError, environ.ImproperlyConfigured):
            self._add_unreadable(var, "a URL like postgres://user:password@host:5432/name", None)
            return {"NAME": ""}

    def mail(self, var: str) -> "MailSettings":
        """Return the mail server for the URL in the variable; without a URL, a backend that sends nothing."""
        url = str(self.str(var, default=""))
        if not url:
            return MailSettings("django.core.mail.backends.dummy.EmailBackend")
        try:
            parts = urlsplit(url)
            port = parts.port or MAIL_PORTS[parts.scheme]
        except (ValueError, KeyError):
            self._add_unreadable(var, "a URL like smtp+tls://user:password@mail.example.com:587", None)
            return MailSettings("django.core.mail.backends.dummy.EmailBackend")
        return MailSettings(
            "portal.mail.MailBackend",
            parts.hostname or "localhost",
            port,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            starttls=parts.scheme == "smtp+tls",
            tls=parts.scheme == "smtps",
        )

    def _add_unreadable(self, var: str, kind: str, default: Any) -> Any:
        self.unreadable[var] = kind
        return default


def get_program_name() -> str:
    """Return the name of this process, such as `manage.py sync` or `celery`, cut to PostgreSQL's limit of 63 bytes."""
    name = Path(sys.argv[0]).name
    return f"{name} {sys.argv[1]}"[:63] if name == "manage.py" and len(sys.argv) > 1 else name[:63]


def is_web_server() -> bool:
    """Return whether this process is the web server: granian imports `portal.wsgi`, which reads the settings."""
    return "portal.wsgi" in sys.modules


def read_environment() -> EnvironmentVariables:
    """Return the environment; `.env` adds variables that are unset. `PORTAL_IGNORE_DOTENV=1` ignores the file."""
    env = EnvironmentVariables()
    if not env.bool("PORTAL_IGNORE_DOTENV", default=False):
        env.read_env(BASE_DIR / ".env", overwrite=False)
    return env

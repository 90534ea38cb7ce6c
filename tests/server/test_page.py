"""The page on the wire: no client in between that cleans up a path or unpacks a body."""

import gzip
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from chatkeep.api.routes.page import FOLDER, INDEX
from tests.process import Server

IS_BUILT = (FOLDER / INDEX).is_file()


@pytest.fixture
def wire(server: Server) -> Iterator[HTTPConnection]:
    with closing(HTTPConnection(urlsplit(server.url).netloc)) as opened:
        yield opened


def test_a_path_that_leads_out_of_the_page_leads_nowhere(wire: HTTPConnection) -> None:
    for path in ("/assets/../../app.py", "/assets/../api/page.py", "/../settings.py"):
        wire.request("GET", path)
        answer = wire.getresponse()
        assert answer.getheader("content-type") == "application/problem+json"
        assert (answer.status, b"import" in answer.read()) == (404, False)


@pytest.mark.skipif(not IS_BUILT, reason="the page has not been built")
def test_the_page_that_comes_with_the_program_is_served(wire: HTTPConnection) -> None:
    wire.request("GET", "/", headers={"accept-encoding": "gzip"})
    answer = wire.getresponse()
    body = answer.read()
    if answer.getheader("content-encoding") == "gzip":
        body = gzip.decompress(body)
    assert (answer.status, body[:15].lower()) == (200, b"<!doctype html>")
    wire.request("HEAD", "/", headers={"accept-encoding": "gzip"})
    head = wire.getresponse()
    assert (head.status, head.read()) == (200, b"")
    assert head.getheader("content-length") == answer.getheader("content-length")

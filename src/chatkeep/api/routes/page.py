"""The page at `/`, and what it loads from `/assets/`: built files, read once, served from memory.

What the page does is its own matter; here it is told what it may load, and a browser holds it to
that.
"""

import gzip
import html
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from chatkeep.api import accept, etags
from chatkeep.domain.errors import PageMissing

FOLDER = Path(__file__).parents[2] / "page"
"""Where the page's build puts its files."""

INDEX = "index.html"
COMPRESSION = 6
"""Level of gzip: above it a start takes longer, and the files hardly get smaller."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Written down: what a machine calls them may be something that a browser refuses to run."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{}; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
"""What the page may load, and do (Content Security Policy Level 3), beside images of some hosts."""

HEADERS = {
    # Kept, but asked for again: the files keep their names from one version to the next.
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}

_HOSTS = '<meta name="image-hosts" content="{}" />'
"""How the page is told from where it may load images; in the built index it is empty."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Form:
    """A file in one of the codings in which it is sent; `headers` describe these bytes."""

    content: bytes
    tag: str
    headers: dict[str, str]


class Page:
    """The built files by their path. What is not among them cannot be asked for."""

    def __init__(self, folder: Path, *, image_hosts: Sequence[str]) -> None:
        """Read the folder, which need not be there; `image_hosts` as the setting has them."""
        sources = [" https:" if host == "*" else f" https://{host}" for host in image_hosts]
        self._headers = {**HEADERS, "Content-Security-Policy": POLICY.format("".join(sources))}
        told = _HOSTS.format(html.escape(" ".join(image_hosts)))
        self._files = {}
        for path in (path for path in folder.rglob("*") if path.is_file()):
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            if name == INDEX:
                content = content.replace(_HOSTS.format("").encode(), told.encode())
            self._files[name] = _forms(path.suffix, content)

    def answer(self, request: Request, name: str) -> Response:
        """A file, compressed where that is understood; or that it has not changed."""
        if name not in self._files:
            raise PageMissing if name == INDEX else HTTPException(404)
        plain, packed = self._files[name]
        takes_gzip = accept.takes(request.headers.get("accept-encoding"), "gzip")
        form = packed if takes_gzip else plain
        headers = self._headers | etags.header(form.tag)
        if etags.is_known(form.tag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        return Response(form.content, headers=headers | form.headers)


@router.get("/")
async def index(request: Request) -> Response:
    """Answer the page itself."""
    page: Page = request.app.state.page
    return page.answer(request, INDEX)


@router.get("/assets/{name:path}")
async def asset(request: Request, name: str) -> Response:
    """Answer a file that the page loads."""
    page: Page = request.app.state.page
    return page.answer(request, f"assets/{name}")


def _forms(suffix: str, content: bytes) -> tuple[_Form, _Form]:
    """A file as it is, and compressed; the same twice where that makes it no smaller."""
    headers = {"Content-Type": MEDIA_TYPES.get(suffix, "application/octet-stream")}
    plain = _Form(content, _tag(content), headers)
    packed = gzip.compress(content, COMPRESSION, mtime=0)
    if len(packed) >= len(content):
        return plain, plain
    return plain, _Form(packed, _tag(packed), {**headers, "Content-Encoding": "gzip"})


def _tag(content: bytes) -> str:
    return blake2b(content, digest_size=12).hexdigest()

"""The web page at `/`, and what it loads from `/assets/`: built files, served from memory.

Its headers say what it may load and do, which the browser enforces.
"""

import gzip
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from chatkeep.api import accept, etags
from chatkeep.domain.errors import PageMissing

FOLDER = Path(__file__).parents[2] / "page"
"""Where the page's build writes its files."""

INDEX = "index.html"
COMPRESSION = 6
"""Level of gzip: a higher one takes longer, and the files hardly get smaller."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Not the system's own table, which may have types with which a browser runs no script."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{}; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
"""What the page may load and do (Content Security Policy Level 3), with a slot for image hosts."""

HEADERS = {
    # Cached, but validated at each use: the files have the same names in every version.
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}

_IMAGE_HOSTS = '<meta name="image-hosts" content="{}" />'
"""From where the page may load images, for its own use; empty in the built index."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Variant:
    """A file in one content coding; `headers` describe these bytes."""

    content: bytes
    tag: str
    headers: dict[str, str]


class _File:
    """A file as it is, and compressed when that is first asked for: a few milliseconds, once."""

    def __init__(self, suffix: str, content: bytes) -> None:
        media_type = MEDIA_TYPES.get(suffix, "application/octet-stream")
        self.plain = _Variant(content, _tag(content), {"Content-Type": media_type})

    @cached_property
    def compressed(self) -> _Variant:
        packed = gzip.compress(self.plain.content, COMPRESSION, mtime=0)
        if len(packed) >= len(self.plain.content):
            return self.plain
        headers = {**self.plain.headers, "Content-Encoding": "gzip"}
        return _Variant(packed, _tag(packed), headers)


class Page:
    """The built files by their path below the folder. Nothing else can be requested."""

    def __init__(self, folder: Path, *, image_hosts: Sequence[str]) -> None:
        """Read all files into memory.

        Args:
            folder: Where they are; it may be missing.
            image_hosts: Hosts from which messages may show images; `*` is any.

        """
        sources = [" https:" if host == "*" else f" https://{host}" for host in image_hosts]
        self._headers = {**HEADERS, "Content-Security-Policy": POLICY.format("".join(sources))}
        meta = _IMAGE_HOSTS.format(html.escape(" ".join(image_hosts)))
        self._files = {}
        for path in (path for path in folder.rglob("*") if path.is_file()):
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            if name == INDEX:
                content = content.replace(_IMAGE_HOSTS.format("").encode(), meta.encode())
            self._files[name] = _File(path.suffix, content)

    def answer(self, request: Request, name: str) -> Response:
        """A file as a response, compressed if the client allows it; 304 if the client has it.

        Raises:
            PageMissing: The page was not built.
            HTTPException: There is no such file (404).

        """
        if name not in self._files:
            raise PageMissing if name == INDEX else HTTPException(404)
        file = self._files[name]
        allows_gzip = accept.allows_coding(request.headers.get("accept-encoding"), "gzip")
        variant = file.compressed if allows_gzip else file.plain
        headers = self._headers | etags.header(variant.tag)
        if etags.is_known(variant.tag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        return Response(variant.content, headers=headers | variant.headers)


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


def _tag(content: bytes) -> str:
    return blake2b(content, digest_size=12).hexdigest()

"""Chatkeep within another application: `app.mount("/chat", create_app(…))`."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send


class Mounted:
    """ASGI middleware that takes the path at which an application is mounted off each request.

    Starlette leaves the whole path in `path`, and the part that leads here in `root_path`
    (https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope). Everything here
    knows its own paths only; `mount_path` has the part that was taken off.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Take the application."""
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on, as if it had come here at first."""
        root = scope.get("root_path", "")
        if root and scope["type"] in {"http", "websocket"}:
            path, raw_path = scope["path"], scope.get("raw_path") or b""
            if path == root or path.startswith(f"{root}/"):
                # Not percent-encoded: it is what the other application was written with.
                raw_root = root.encode()
                is_plain = raw_path.startswith(raw_root)
                scope = {
                    **scope,
                    "path": path[len(root) :] or "/",
                    "raw_path": (raw_path[len(raw_root) :] if is_plain else raw_path) or b"/",
                    "mount_path": root,
                }
            # Else the router would look for it once more.
            scope = {**scope, "root_path": ""}
        return self._app(scope, receive, send)

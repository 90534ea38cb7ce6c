"""The OpenAPI document, with what the framework does not know."""

from typing import Any

from fastapi import FastAPI

from chatkeep.api import access, problems
from chatkeep.api.authentication import COOKIE
from chatkeep.api.openai.chat_requests import ChatCompletionRequest
from chatkeep.api.problems import Problem
from chatkeep.api.routes.chat import ChatRequest
from chatkeep.api.routes.keys import KeyChange, KeyRequest, Rotation
from chatkeep.api.routes.me import Login
from chatkeep.api.routes.sessions import SessionChange
from chatkeep.api.routes.users import TokenRequest

BODIES = (
    *(ChatRequest, SessionChange, Login, TokenRequest),
    *(KeyRequest, KeyChange, Rotation, Problem, ChatCompletionRequest),
)
"""What `api/bodies.py` reads and `api/problems.py` writes by themselves."""

SECURITY_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key (`ckp_…`) or the token of a user's browser (`cku_…`), also accepted "
        "as `X-Api-Key`. Needed as soon as the first key is made. An application's key acts for "
        "one of its users with the header `Chatkeep-User`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "What `POST /login` sets; `__Host-chatkeep` over TLS.",
    },
}


class DocumentedAPI(FastAPI):
    """An application whose document is complete, and made when it is first asked for."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        is_made = self.openapi_schema is not None
        document = super().openapi()
        if not is_made:
            _complete(document)
        return document


def _complete(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for body in BODIES:
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[body.__name__] = schema
    # The framework's own 422, which it adds to every route with a parameter, is never sent.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    scopes = {route.replace(":path", ""): needed for route, needed in access.ROUTES.items()}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            _add_security(operation, access.needed(scopes[f"{method.upper()} {path}"]))


def _add_security(operation: dict[str, Any], scopes: str) -> None:
    """Say what a route needs: what the table of `api/access.py` says."""
    if not scopes:
        return
    operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    names = ", ".join(f"`{scope}`" for scope in scopes.split())
    responses = operation["responses"]
    for status, response in problems.documented(401, 403).items():
        responses[str(status)] = response
    responses["403"]["description"] = f"The key does not allow that. Scopes that do: {names}."
    operation["responses"] = dict(sorted(responses.items()))

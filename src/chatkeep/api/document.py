"""The OpenAPI document, with what the framework does not know."""

import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from chatkeep.api import access, problems, sse
from chatkeep.api.authentication import COOKIE
from chatkeep.api.openai import errors as openai
from chatkeep.api.openai.chat_requests import ChatCompletionRequest
from chatkeep.api.openai.compact_routes import CompactRequest
from chatkeep.api.openai.conversation_routes import ConversationRequest, ItemsRequest
from chatkeep.api.openai.requests import ResponsesRequest
from chatkeep.api.problems import Problem
from chatkeep.api.routes.chat import ChatRequest
from chatkeep.api.routes.keys import KeyChange, KeyRequest, Rotation
from chatkeep.api.routes.me import Login
from chatkeep.api.routes.sessions import SessionChange
from chatkeep.api.routes.users import TokenRequest

BODIES = (
    *(ChatRequest, SessionChange, Login, TokenRequest),
    *(KeyRequest, KeyChange, Rotation, Problem, openai.ErrorEnvelope),
    *(ResponsesRequest, CompactRequest, ConversationRequest, ItemsRequest, ChatCompletionRequest),
)
"""What `api/bodies.py` reads and `api/problems.py` writes by themselves."""

DIALECT_BODIES = {
    "/v1/responses": ResponsesRequest,
    "/v1/responses/compact": CompactRequest,
    "/v1/conversations": ConversationRequest,
    "/v1/conversations/{conversation_id}": ConversationRequest,
    "/v1/conversations/{conversation_id}/items": ItemsRequest,
    "/v1/chat/completions": ChatCompletionRequest,
}
"""What is posted to OpenAI's addresses."""

STREAMED = {"post /v1/responses", "get /v1/responses/{response_id}", "post /v1/chat/completions"}
DIALECT_STREAM = {
    sse.MEDIA_TYPE: {
        "itemSchema": {
            "type": "object",
            "required": ["data"],
            "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
        }
    }
}
READ_ERRORS = (400, 404, 500, 503)
POST_ERRORS = (400, 404, 408, 413, 415, 429, 500, 502, 503, 504)

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
            is_dialect = openai.is_dialect(path)
            if is_dialect:
                _complete_dialect(operation, method, path)
            errors = openai.documented if is_dialect else problems.documented
            _add_security(operation, access.needed(scopes[f"{method.upper()} {path}"]), errors)


def _complete_dialect(operation: dict[str, Any], method: str, path: str) -> None:
    """Add what is posted to one of OpenAI's addresses, its stream, and its errors."""
    body = DIALECT_BODIES.get(path) if method == "post" else None
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        is_needed = body is not ConversationRequest
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"required": is_needed, "content": content}
    if f"{method} {path}" in STREAMED:
        operation["responses"]["200"]["content"] |= DIALECT_STREAM
    names = re.findall(r"\{(\w+)\}", path)
    # The function of a plain route has one parameter, the request.
    operation.setdefault(
        "parameters",
        [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ],
    )
    errors = POST_ERRORS if method == "post" else READ_ERRORS
    operation["responses"] |= {str(k): v for k, v in openai.documented(*errors).items()}


def _add_security(
    operation: dict[str, Any],
    scopes: str,
    errors: Callable[..., dict[int | str, dict[str, Any]]],
) -> None:
    """Say what a route needs: what the table of `api/access.py` says."""
    if not scopes:
        return
    operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    names = ", ".join(f"`{scope}`" for scope in scopes.split())
    responses = operation["responses"]
    for status, response in errors(401, 403).items():
        responses[str(status)] = response
    responses["403"]["description"] = f"The key does not allow that. Scopes that do: {names}."
    operation["responses"] = dict(sorted(responses.items()))

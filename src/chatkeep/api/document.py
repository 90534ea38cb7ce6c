"""The OpenAPI document, with what the framework does not know."""

from typing import Any

from fastapi import FastAPI

from chatkeep.api.problems import Problem
from chatkeep.api.routes.chat import ChatRequest
from chatkeep.api.routes.sessions import SessionChange

BODIES = (ChatRequest, SessionChange, Problem)
"""What `api/bodies.py` reads and `api/problems.py` writes by themselves."""


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
        schemas[body.__name__] = body.model_json_schema()
    # The framework's own 422, which it adds to every route with a parameter, is never sent.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]

"""JSON bodies, read strictly: what a lenient parser lets through would fail later, or change."""

import json
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect

from chatkeep.domain.errors import InvalidRequest, InvalidValue, MalformedBody, UnsupportedMediaType
from chatkeep.domain.validation import reject_unstorable

MAX_SYSTEM_PROMPT_CHARS = 100_000

Model = TypeVar("Model", bound=BaseModel)


Storable = Annotated[str, AfterValidator(reject_unstorable)]


async def read(request: Request, model: type[Model]) -> Model:
    """The body as `model`. Raises `UnsupportedMediaType`, `MalformedBody`, `InvalidRequest`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnsupportedMediaType
    check_encoding(request)
    try:
        body = await request.body()
    except ClientDisconnect:
        raise MalformedBody("The body ended too early.") from None
    value = parse(body)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None


def check_encoding(request: Request) -> None:
    """Raise `UnsupportedMediaType` for a body that is compressed (RFC 9110, 15.5.16)."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMediaType("The body must not be compressed: leave out Content-Encoding.")


def parse(body: bytes) -> object:
    """JSON as RFC 8259 has it: UTF-8, no NaN, no name twice. Raises `MalformedBody`."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8.") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(f"The body is not JSON: {error.msg} ({where}).") from None
    except ValueError:
        raise MalformedBody("The body has a number that is too long.") from None


def invalid(errors: list[ErrorDetails]) -> InvalidRequest:
    """What is wrong with which value, without repeating the value."""
    listed: list[InvalidValue] = [
        {"pointer": _pointer(error["loc"]), "detail": error["msg"].removeprefix("Value error, ")}
        for error in errors
    ]
    first = listed[0]
    return InvalidRequest(f"{first['pointer']}: {first['detail']}", errors=listed)


def _pointer(loc: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901) as a URI fragment; the names in it are the caller's own."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in loc)
    pointer = "".join(f"/{part}" for part in escaped)
    return "#" + pointer.encode("utf-8", "replace").decode()[:200]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise MalformedBody("An object in the body has the same name twice.")
    return found


def _constant(_name: str) -> NoReturn:
    raise MalformedBody("The body is not JSON: NaN and Infinity are not numbers.")

"""JSON bodies, read strictly: what a lenient parser accepts would fail later, or be changed."""

import asyncio
import json
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect

from chatkeep.domain.errors import (
    InvalidRequest,
    InvalidValue,
    MalformedBody,
    TooLarge,
    UnsupportedMediaType,
)
from chatkeep.domain.validation import reject_unstorable

MAX_SYSTEM_PROMPT_CHARS = 100_000

MAX_MEMBERS, MAX_ERRORS = 100, 20
"""Of a body; of the values that a problem lists."""

LONG_BYTES = 1_048_576
"""A body with more is read in a thread: it would keep all other requests waiting."""

ModelT = TypeVar("ModelT", bound=BaseModel)

Storable = Annotated[str, AfterValidator(reject_unstorable)]


async def read(
    request: Request,
    model: type[ModelT],
    *,
    max_bytes: int | None = None,
    larger_with: tuple[str, ...] = (),
) -> ModelT:
    """Read and validate a request's body.

    Args:
        request: The request.
        model: What the body must be.
        max_bytes: Bytes that it may have; `None` for as many as have come.
        larger_with: Members with which it may have more.

    Raises:
        TooLarge: It is longer, and has none of these members.
        UnsupportedMediaType: It is no JSON by its headers, or compressed.
        MalformedBody: It is no JSON by its content, or ended too early.
        InvalidRequest: It is not what `model` describes.

    """
    value, size = await _read(request)
    has_more = isinstance(value, dict) and not value.keys().isdisjoint(larger_with)
    if max_bytes is not None and size > max_bytes and not has_more:
        raise TooLarge(f"The body is larger than {max_bytes} bytes.")
    is_long = size > LONG_BYTES
    return await asyncio.to_thread(validated, value, model) if is_long else validated(value, model)


async def has_content(request: Request) -> bool:
    """Whether a request has a body. Raises `MalformedBody` if it ended too early."""
    try:
        return bool(await request.body())
    except ClientDisconnect:
        raise MalformedBody("The body ended too early.") from None


async def read_object(request: Request) -> dict[str, Any]:
    """Read a request's body, which must be a JSON object. `Any`: as the caller has sent it.

    Raises as `read`, and `InvalidRequest` for any other value.
    """
    value, _ = await _read(request)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


async def _read(request: Request) -> tuple[object, int]:
    """The value of a body, and its bytes."""
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
    is_long = len(body) > LONG_BYTES
    return (await asyncio.to_thread(parse, body) if is_long else parse(body)), len(body)


def validated(value: object, model: type[ModelT]) -> ModelT:
    """A JSON value as a model. Raises `InvalidRequest`."""
    if isinstance(value, dict) and len(value) > MAX_MEMBERS:
        raise InvalidRequest(f"The body has more than {MAX_MEMBERS} members.")
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
    """Parse JSON in UTF-8 (RFC 8259) without NaN and repeated names. Raises `MalformedBody`."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_refuse)
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8.") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(f"The body is not JSON: {error.msg} ({position}).") from None
    except ValueError:
        raise MalformedBody("The body has a number that is too long.") from None


def invalid(errors: list[ErrorDetails]) -> InvalidRequest:
    """Pydantic's errors as one of ours, which names the values without repeating them."""
    listed: list[InvalidValue] = [
        {"pointer": _pointer(error["loc"]), "detail": error["msg"].removeprefix("Value error, ")}
        for error in errors[:MAX_ERRORS]
    ]
    first = listed[0]
    return InvalidRequest(f"{first['pointer']}: {first['detail']}", errors=listed)


def _pointer(loc: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901) as a URI fragment, cut because the caller chooses the names."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in loc)
    pointer = "".join(f"/{part}" for part in escaped)
    return "#" + pointer.encode("utf-8", "replace").decode()[:200]


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedBody("An object in the body has the same name twice.")
    return members


def _refuse(_name: str) -> NoReturn:
    raise MalformedBody("The body is not JSON: NaN and Infinity are not numbers.")

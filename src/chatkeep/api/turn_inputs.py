"""What `POST /chat` takes beside a text: tools and their results, pictures and documents."""

import binascii
import re
from base64 import b64decode
from hashlib import sha256
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chatkeep.api.bodies import Storable
from chatkeep.domain import file_types
from chatkeep.domain.blocks import MAX_BYTES, Block, ToolResult, result_block
from chatkeep.domain.errors import InvalidRequest, TooLarge
from chatkeep.domain.model import FileContent, MessageContent, Role
from chatkeep.domain.validation import validate_json

MAX_TOOLS = 128
MAX_FILES = 20
"""Of a message."""

MAX_URL_CHARS = 2_048
NAME = r"^[a-zA-Z0-9_-]{1,64}$"
"""The name of a tool, as OpenAI has it: https://platform.openai.com/docs/api-reference/chat."""

_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)


def _limited(value: dict[str, Any]) -> dict[str, Any]:
    """`Any`: JSON of the caller's."""
    if validate_json(value) > MAX_BYTES:
        raise ValueError(f"must not be longer than {MAX_BYTES} bytes as JSON")
    return value


Schema = Annotated[dict[str, Any], AfterValidator(_limited)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Function(_Strict):
    """A function that the model may call."""

    name: str = Field(pattern=NAME)
    description: Storable | None = Field(None, max_length=10_000)
    parameters: Schema | None = Field(None, description="Its arguments, as a JSON schema.")
    strict: bool | None = None


class Tool(_Strict):
    """A tool on offer, as OpenAI's chat completions have it."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Strict):
    """A function by its name."""

    name: str = Field(pattern=NAME)


class NamedTool(_Strict):
    """The tool that the model must call."""

    type: Literal["function"]
    function: NamedFunction


class JSONSchema(_Strict):
    """What the reply must be, as a JSON schema."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    name: str = Field(pattern=NAME)
    description: Storable | None = Field(None, max_length=10_000)
    schema_: Schema = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(_Strict):
    """The form of the reply, as OpenAI's chat completions have it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = Field(None, description="Needed for the type `json_schema`.")


class ToolResultInput(_Strict):
    """What came of a call of the model's."""

    tool_call_id: Storable = Field(min_length=1, max_length=255)
    content: Storable = Field(description="Its text.")
    is_error: bool = Field(False, description="Whether the tool has failed.")

    def to_content(self) -> MessageContent:
        """The message that it becomes."""
        block = result_block(ToolResult(self.tool_call_id, None, self.is_error))
        return MessageContent(Role.TOOL, self.content, (block,))


class FileInput(_Strict):
    """A document."""

    name: Storable = Field(min_length=1, max_length=255)
    data: Storable = Field(description="`data:application/pdf;base64,…`")


def dumped(model: BaseModel) -> dict[str, Any]:
    """A part of a request as providers are sent it. `Any`: JSON of the caller's."""
    return model.model_dump(exclude_none=True, by_alias=True)


def tools_json(tools: list[Tool]) -> str:
    """The tools on offer as they are stored. Raises `TooLarge`."""
    body = orjson.dumps([dumped(tool) for tool in tools])
    if len(body) > MAX_BYTES:
        raise TooLarge(f"The tools are longer than {MAX_BYTES} bytes as JSON.")
    return body.decode()


def attachments(
    images: list[str], files: list[FileInput], *, max_bytes: int
) -> tuple[list[Block], list[FileContent]]:
    """The blocks of pictures and documents, and the bytes that these refer to.

    Args:
        images: Data URLs, or addresses on the web, which this server never fetches.
        files: Documents.
        max_bytes: Of one of them.

    Raises:
        InvalidRequest: One is not what it says, or of a type that is not stored.
        TooLarge: One is too large.

    """
    blocks: list[Block] = []
    contents: list[FileContent] = []
    for number, url in enumerate(images):
        pointer = f"#/images/{number}"
        if url[:5].lower() != "data:":
            blocks.append({"type": "image", "url": _web_address(url, pointer)})
            continue
        content = _decoded(url, pointer, file_types.PICTURES, max_bytes)
        contents.append(content)
        blocks.append({"type": "image", "mime_type": content.mime_type, "file_id": content.file_id})
    for number, file in enumerate(files):
        content = _decoded(file.data, f"#/files/{number}/data", file_types.DOCUMENTS, max_bytes)
        contents.append(content)
        stored = {"mime_type": content.mime_type, "file_id": content.file_id}
        blocks.append({"type": "file", **stored, "filename": file.name})
    return blocks, contents


def _web_address(url: str, pointer: str) -> str:
    if len(url) > MAX_URL_CHARS or _WEB_URL.fullmatch(url) is None:
        raise _invalid(pointer, "must be a data URL in base64, or an address on the web")
    return url


def _decoded(url: str, pointer: str, allowed: frozenset[str], max_bytes: int) -> FileContent:
    head = _DATA_URL.match(url)
    if head is None:
        raise _invalid(pointer, "must be a data URL in base64")
    if len(url) * 3 // 4 > max_bytes + 1_024:
        raise TooLarge(f"{pointer}: a file has more than {max_bytes} bytes.")
    try:
        data = b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(pointer, "is not valid base64") from None
    if len(data) > max_bytes:
        raise TooLarge(f"{pointer}: a file has more than {max_bytes} bytes.")
    kind = file_types.media_type(data)
    if kind is None or kind not in allowed:
        raise _invalid(pointer, f"must be one of {', '.join(sorted(allowed))}")
    if kind != head[1].lower().replace("image/jpg", "image/jpeg"):
        raise _invalid(pointer, f"says it is {head[1][:50]}, but its bytes are {kind}")
    return FileContent(sha256(data).hexdigest(), kind, data)


def _invalid(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer}: {detail}", errors=[{"pointer": pointer, "detail": detail}])

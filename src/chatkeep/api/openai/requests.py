"""The body of `POST /v1/responses`, and the turn that it asks for.

https://platform.openai.com/docs/api-reference/responses/create. Members that are not known here are
ignored: OpenAI's clients send new ones every month. `Any` is JSON of the caller's.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chatkeep.api import bodies
from chatkeep.api.bodies import Storable
from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.inputs import Input, invalid
from chatkeep.api.turn_inputs import MAX_TOOLS, NAME, Schema
from chatkeep.domain.blocks import MAX_BYTES, Block
from chatkeep.domain.errors import InvalidRequest, MalformedBody, NotAllowed, TooLarge
from chatkeep.domain.model import Caller, Scope, TurnOptions
from chatkeep.domain.records import ReplyTokens, Temperature
from chatkeep.domain.validation import validate_json, validate_metadata

WHOLE_BRANCH = 1_000_000
"""Messages that a model reads whose client cuts nothing off."""

MAX_INSTRUCTIONS_CHARS = 1_000_000

ID = Annotated[Storable, StringConstraints(max_length=255)]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class FunctionTool(_Lenient):
    """A tool that is a function."""

    name: str = Field(pattern=NAME)
    description: Storable | None = None
    parameters: Schema | None = None
    strict: bool | None = None

    def to_tool(self) -> Block:
        """The tool as chat completions have it, which is how tools are stored."""
        return {"type": "function", "function": self.model_dump(exclude_none=True)}


class TextFormat(_Lenient):
    """The form of the reply."""

    type: str = "text"
    name: str | None = Field(None, pattern=NAME)
    description: Storable | None = None
    schema_: Schema | None = Field(None, alias="schema")
    strict: bool | None = None

    def to_response_format(self) -> Block | None:
        """The form as chat completions have it. Raises `InvalidRequest`."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "json_object"}
        if self.type != "json_schema" or self.schema_ is None or self.name is None:
            raise invalid("text/format", "Must be text, json_object, or a json_schema with a name.")
        schema = self.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
        return {"type": "json_schema", "json_schema": schema}


class TextOptions(_Lenient):
    """What is demanded of the reply's text."""

    format: TextFormat | None = None


class Reasoning(_Lenient):
    """What is demanded of the model's reasoning."""

    effort: Annotated[Storable, StringConstraints(max_length=50)] | None = None


class ConversationRef(_Lenient):
    """A conversation, which is a session by its name."""

    id: Storable


class ResponsesRequest(_Lenient):
    """What `POST /v1/responses` takes."""

    model: Storable | None = Field(None, description="A model on offer. Needed.")
    input: Any = Field(None, description="A text, or a list of items.")
    instructions: (
        Annotated[Storable, StringConstraints(max_length=MAX_INSTRUCTIONS_CHARS)] | None
    ) = None
    previous_response_id: ID | None = Field(
        None, description="The response to go on from: of the same conversation, however old."
    )
    conversation: Storable | ConversationRef | None = Field(
        None, description="A session, which must exist. Not with `previous_response_id`."
    )
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    tools: list[dict[str, Any]] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    temperature: Temperature | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_output_tokens: ReplyTokens | None = None
    truncation: str | None = Field(
        None, description="`auto` reads the session's newest messages, else all are read."
    )
    metadata: dict[str, str] | None = None
    prompt: Any = None
    generate: bool | None = None

    @property
    def conversation_id(self) -> str | None:
        """The session that it names."""
        named = self.conversation
        return named.id if isinstance(named, ConversationRef) else named

    def check(self) -> None:
        """Raise `InvalidRequest` for what cannot be together, or is not there."""
        if self.model is None:
            raise missing("model")
        if self.input is None:
            raise missing("input")
        if self.prompt is not None:
            raise unsupported("prompt", "Stored prompts are not supported: send instructions.")
        if self.conversation is not None and self.previous_response_id is not None:
            raise invalid(
                "previous_response_id", "Must not be combined with conversation: it is of one."
            )
        if self.background and self.store is False:
            raise invalid("background", "Needs store: whoever goes away reads it later.")
        if self.metadata is not None:
            checked_metadata(dict(self.metadata))

    def tools_offered(self) -> list[Block]:
        """The functions among the tools: others run nowhere here, and are left out.

        A choice of allowed tools leaves out the rest.
        """
        tools = [
            _function(tool, number)
            for number, tool in enumerate(self.tools or [])
            if tool.get("type") == "function"
        ]
        choice = self.tool_choice
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            allowed = choice.get("tools")
            listed = allowed if isinstance(allowed, list) else []
            names = [tool.get("name") for tool in listed if isinstance(tool, dict)]
            tools = [tool for tool in tools if tool["function"]["name"] in names]
        return tools

    def chosen_tool(self, tools: list[Block]) -> str | Block | None:
        """The choice among these tools, as chat completions have it. Raises `InvalidRequest`."""
        choice = self.tool_choice
        if not tools or choice is None:
            return None
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            choice = choice.get("mode") or "auto"
        if choice in ("auto", "none", "required"):
            return choice
        name = choice.get("name") if isinstance(choice, dict) else None
        if name not in [tool["function"]["name"] for tool in tools]:
            raise invalid("tool_choice", "Must be auto, none, required, or one of the tools.")
        return {"type": "function", "function": {"name": name}}

    def to_options(
        self,
        parsed: Input,
        *,
        model: str | None,
        tools: list[Block],
        reasons_by_effort: bool,
        is_user: bool,
        echo: dict[str, Any],
    ) -> TurnOptions:
        """The options of the turn.

        Args:
            parsed: The input, whose first messages of the system are instructions too.
            model: As it is called here; `None` for that of the session or the server.
            tools: Those that are offered.
            reasons_by_effort: Whether the model can be asked for more or less reasoning.
            is_user: Whether a user asks: then it is the application that has decided how much the
                model reads, and with which system prompt.
            echo: What the response says again.

        """
        instructions = [text for text in (self.instructions, parsed.instructions) if text]
        effort = self.reasoning.effort if self.reasoning is not None else None
        form = self.text.format if self.text is not None else None
        return TurnOptions(
            model=model,
            system_prompt="\n\n".join(instructions) or None,
            temperature=self.temperature,
            max_tokens=self.max_output_tokens,
            tool_choice=self.chosen_tool(tools),
            response_format=None if form is None else form.to_response_format(),
            reasoning_effort=effort if reasons_by_effort else None,
            top_p=self.top_p,
            parallel_tool_calls=self.parallel_tool_calls if tools else None,
            context_messages=None if self.truncation == "auto" or is_user else WHOLE_BRANCH,
            omits_default_prompt=None if is_user else True,
            client=echo,
        )


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """What a client wants to be stored with a session or a response. Raises `Refused`."""
    try:
        return validate_metadata(metadata)
    except ValueError as error:
        raise invalid("metadata", f"It {error}.") from None


ECHOED = (
    *("background", "include", "max_tool_calls", "metadata", "previous_response_id"),
    *("prompt_cache_key", "safety_identifier", "service_tier", "store", "top_logprobs"),
    *("truncation", "user"),
)
"""Members that a response says again, and that nothing here depends on."""

SUMMARIES = ("auto", "concise", "detailed")
"""Of the model's reasoning. What it shows of that is sent whichever is demanded."""

MAX_ECHO_BYTES = 65_536


def echo(body: dict[str, Any]) -> dict[str, Any]:
    """What a response says again of its request. Raises `TooLarge`."""
    members = {name: body[name] for name in ECHOED if body.get(name) is not None}
    if body.get("conversation") is not None:
        members["conversation"] = True
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("summary") in SUMMARIES:
        members["reasoning_summary"] = reasoning["summary"]
    try:
        size = validate_json(members)
    except ValueError as error:
        raise Refused(f"What the response is to repeat {error}.") from None
    if size > MAX_ECHO_BYTES:
        raise TooLarge(f"What the response is to repeat has more than {MAX_ECHO_BYTES} bytes.")
    return members


def digest(kind: str, body: object) -> bytes:
    """A digest of a request: equal bodies have equal ones."""
    try:
        canonical = orjson.dumps([kind, body], option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # A number beyond 64 bits, or half a character, in a member that nothing here reads.
        canonical = _canonical(kind, body)
    return blake2b(canonical, digest_size=16).digest()


def _canonical(kind: str, body: object) -> bytes:
    try:
        return json.dumps([kind, body], sort_keys=True).encode()
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None


def tools_json(tools: list[Block]) -> str | None:
    """Tools as they are stored; `None` for none. Raises `TooLarge`."""
    if not tools:
        return None
    stored = orjson.dumps(tools)
    if len(stored) > MAX_BYTES:
        raise TooLarge(f"The tools are longer than {MAX_BYTES} bytes as JSON.")
    return stored.decode()


RESERVED = ("instructions", "temperature", "top_p", "max_output_tokens", "truncation")
"""Members that a user does not set: the application has decided them."""


def check_members(caller: Caller, request: ResponsesRequest) -> None:
    """Raise `NotAllowed` for what the caller may not set."""
    check_allowed(caller, {name: getattr(request, name) for name in RESERVED})


def check_roles(caller: Caller, parsed: Input) -> None:
    """Raise `NotAllowed` for a message of the system that a user sends."""
    if caller.scope is Scope.USER and parsed.system_at is not None:
        raise NotAllowed(
            "What the system says is not for a user to set.",
            needs=Scope.CHAT,
            pointer=f"#/{parsed.system_at}",
        )


def check_allowed(caller: Caller, members: Mapping[str, object]) -> None:
    """Check a request of a caller.

    Args:
        caller: Whose it is.
        members: Those that are not for a user to set; `None` for one that is not set.

    Raises:
        NotAllowed: The caller may not set one of them.

    """
    for name, value in members.items() if caller.scope is Scope.USER else ():
        if value is not None:
            raise NotAllowed(
                f"{name} is not for a user to set.", needs=Scope.CHAT, pointer=f"#/{name}"
            )


def missing(member: str) -> Refused:
    """The error for a member that is needed."""
    detail = f"Missing required parameter: '{member}'."
    return Refused(detail, openai_code="missing_required_parameter", param=member)


def unsupported(member: str, detail: str) -> Refused:
    """The error for a member that is not supported."""
    return Refused(detail, openai_code="unsupported_parameter", param=member)


def _function(tool: dict[str, Any], number: int) -> Block:
    """A tool as it is stored. Raises `Refused`."""
    try:
        return bodies.validated(_unnested(tool), FunctionTool).to_tool()
    except InvalidRequest as error:
        value = error.errors[0]
        pointer = value.get("pointer", "#").removeprefix("#")
        raise Refused(value["detail"], param=f"tools/{number}{pointer}") from None


def _unnested(tool: dict[str, Any]) -> dict[str, Any]:
    """A function whose members are where chat completions have them, too."""
    inner = tool.get("function")
    return inner if isinstance(inner, dict) else tool

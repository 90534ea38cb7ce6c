"""The body of `POST /v1/chat/completions`, and the turn that it asks for.

https://platform.openai.com/docs/api-reference/chat/create. Members that are not known here are
ignored: OpenAI's clients send new ones every month. `Any` is JSON of the caller's.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chatkeep.api.bodies import Storable
from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.inputs import MAX_ITEMS, Input, check_answerable, parse_input
from chatkeep.api.openai.requests import WHOLE_BRANCH, FunctionTool, missing, unsupported
from chatkeep.api.turn_inputs import MAX_TOOLS, NAME, Schema
from chatkeep.domain.blocks import Block
from chatkeep.domain.errors import NotAllowed
from chatkeep.domain.model import Caller, Scope, TurnOptions
from chatkeep.domain.records import MAX_STOPS, ReplyTokens, Temperature

MAX_STOP_CHARS = 1_000

_SYSTEM = ("system", "developer")
_MEMBERS = {"call_id": "tool_call_id", "output": "content"}
"""Members of OpenAI's items by what they are called in a message."""

Stop = Annotated[Storable, StringConstraints(min_length=1, max_length=MAX_STOP_CHARS)]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class CalledFunction(_Lenient):
    """What a call calls."""

    name: str
    arguments: str = Field("", description="JSON, as a text.")


class MessageCall(_Lenient):
    """A call of a message of the assistant."""

    id: str
    function: CalledFunction


class ChatMessage(_Lenient):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = Field(
        None, description="A text, or parts: `text`, `image_url`, `file`."
    )
    tool_calls: list[MessageCall] | None = None
    tool_call_id: str | None = None

    def to_items(self) -> list[dict[str, Any]]:
        """The same as items of the Responses API, which one reader reads."""
        if self.role == "tool":
            output = "" if self.content is None else self.content
            return [
                {"type": "function_call_output", "call_id": self.tool_call_id, "output": output}
            ]
        if self.role != "assistant":
            return [{"role": self.role, "content": "" if self.content is None else self.content}]
        message = [{"role": self.role, "content": self.content}] if self.content else []
        calls = [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.function.name,
                "arguments": call.function.arguments,
            }
            for call in self.tool_calls or []
        ]
        return [*message, *calls]


class ReplySchema(_Lenient):
    """What the reply must be, as a JSON schema."""

    name: str = Field(pattern=NAME)
    description: Storable | None = None
    schema_: Schema = Field(alias="schema")
    strict: bool | None = None


class ResponseForm(_Lenient):
    """The form of the reply."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: ReplySchema | None = None

    def to_response_format(self) -> Block | None:
        """The form as providers are sent it. Raises `InvalidRequest`."""
        if self.type == "text":
            return None
        if self.type == "json_schema" and self.json_schema is None:
            raise missing("response_format/json_schema")
        return self.model_dump(exclude_none=True, by_alias=True)


class OfferedTool(_Lenient):
    """A tool; only functions are offered to the model."""

    type: str = "function"
    function: FunctionTool | None = None


class StreamOptions(_Lenient):
    """What a stream has beside the answer."""

    include_usage: bool | None = None


class ChatCompletionRequest(_Lenient):
    """What `POST /v1/chat/completions` takes."""

    model: Storable | None = Field(None, description="A model on offer. Needed.")
    messages: list[ChatMessage] | None = Field(
        None, max_length=MAX_ITEMS, description="The whole conversation, oldest first. Needed."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[OfferedTool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseForm | None = None
    reasoning_effort: Annotated[Storable, StringConstraints(max_length=50)] | None = None
    temperature: Temperature | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_completion_tokens: ReplyTokens | None = None
    max_tokens: ReplyTokens | None = Field(None, description="The former name of the same.")
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    n: int | None = Field(None, description="Only 1.")
    functions: Any = Field(None, description="Not supported: use `tools`.")
    metadata: dict[str, Any] | None = Field(
        None, description="With `session_id`, the conversation is stored as that session."
    )

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def check(self) -> None:
        """Raise `InvalidRequest` for what is not there, or not supported."""
        if self.model is None:
            raise missing("model")
        if not self.messages:
            raise missing("messages")
        if self.n not in (None, 1):
            raise unsupported("n", "Only one answer is made: leave out n.")
        if self.functions:
            raise unsupported("functions", "Functions are offered as tools.")

    def parse(self, *, max_file_bytes: int) -> Input:
        """Read the messages.

        Args:
            max_file_bytes: Of a picture or a document.

        Raises:
            InvalidRequest: One is not what it must be, or none is there to be answered.
            TooLarge: A file is too large.

        """
        items: list[dict[str, Any]] = []
        numbers: list[int] = []
        messages = self.messages or []
        are_all_systems = all(message.role in _SYSTEM for message in messages)
        for number, message in enumerate(messages):
            for item in message.to_items():
                items.append(item)
                numbers.append(number)
        if are_all_systems and items:
            # Nobody else asks: a model answers the last instruction.
            items[-1] = items[-1] | {"role": "user"}
        try:
            parsed = parse_input(items, max_file_bytes=max_file_bytes)
            check_answerable(parsed)
        except Refused as error:
            raise _of_messages(error, numbers) from None
        parsed.indexes = [numbers[index] for index in parsed.indexes]
        return parsed

    def offered_tools(self) -> list[Block]:
        """The functions among the tools: others run nowhere here, and are left out."""
        return [tool.function.to_tool() for tool in self.tools or [] if tool.function is not None]

    def to_options(
        self,
        parsed: Input,
        *,
        model: str | None,
        tools: list[Block],
        reasons_by_effort: bool,
        keeps_default_prompt: bool,
    ) -> TurnOptions:
        """The options of the turn.

        Args:
            parsed: The messages, the first of which may be the system's.
            model: See `chosen_model`.
            tools: Those that are offered.
            reasons_by_effort: Whether the model can be asked for more or less reasoning.
            keeps_default_prompt: Whether the session's or the server's system prompt holds where
                none was sent; else there is none.

        """
        form, stop = self.response_format, self.stop
        return TurnOptions(
            model=model,
            system_prompt=parsed.instructions or (None if keeps_default_prompt else ""),
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            tool_choice=self._choice(tools),
            response_format=None if form is None else form.to_response_format(),
            reasoning_effort=self.reasoning_effort if reasons_by_effort else None,
            top_p=self.top_p,
            stop=[stop] if isinstance(stop, str) else stop or None,
            parallel_tool_calls=self.parallel_tool_calls if tools else None,
            context_messages=WHOLE_BRANCH,
        )

    def _choice(self, tools: list[Block]) -> str | Block | None:
        choice = self.tool_choice
        if not tools or choice is None or choice in ("auto", "none", "required"):
            return choice if tools else None
        function = choice.get("function") if isinstance(choice, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if name not in [tool["function"]["name"] for tool in tools]:
            detail = "Must be auto, none, required, or one of the tools."
            raise Refused(detail, param="tool_choice")
        return {"type": "function", "function": {"name": name}}


RESERVED = ("temperature", "top_p", "max_tokens", "max_completion_tokens")
"""Members that a user does not set: the application has decided them, as it has the prompt."""


def check_members(caller: Caller, request: ChatCompletionRequest) -> None:
    """Raise `NotAllowed` for what the caller may not set."""
    if caller.scope is not Scope.USER:
        return
    reserved = [name for name in RESERVED if getattr(request, name) is not None]
    reserved += [
        f"messages/{number}"
        for number, message in enumerate(request.messages or ())
        if message.role in _SYSTEM
    ]
    for name in reserved:
        detail = f"{name.partition('/')[0]}: that is not for a user to set."
        raise NotAllowed(detail, needs=Scope.CHAT, pointer=f"#/{name}")


def _of_messages(error: Refused, numbers: list[int]) -> Refused:
    """An error that names an item, as one that names the message."""
    pointer = error.errors[0].get("pointer", "")
    steps = pointer.removeprefix("#/").split("/")
    if steps[0] != "input":
        return error
    steps[0] = "messages"
    if len(steps) > 1 and steps[1].isdecimal():
        steps[1] = str(numbers[int(steps[1])])
    steps[2:] = [_MEMBERS.get(step, step) for step in steps[2:]]
    return Refused(error.detail, openai_code=error.openai_code, param="/".join(steps))

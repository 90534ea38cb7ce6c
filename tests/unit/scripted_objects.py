"""Objects as people bring them: a scripted chat model, and what modules of tests name."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from chatkeep.providers.python.runs import RunRequest, stream

TOKENS = UsageMetadata(input_tokens=10, output_tokens=2, total_tokens=12)


class ScriptedModel(BaseChatModel):
    """Answers with its answers, one after another, streamed by words."""

    answers: list[Any]
    """Messages, texts, and errors that are raised instead."""
    inputs: list[list[BaseMessage]] = Field(default_factory=list)
    provider_id: str | None = None
    """The id of the first piece; providers give one there, and LangChain its own to the others."""
    between: Callable[[], Any] | None = None
    """Awaited before each piece."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, *_: Any, **__: Any) -> "ScriptedModel":
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        *_: Any,
        **__: Any,
    ) -> ChatResult:
        chunks = [chunk.message for chunk in self._pieces(messages)]
        message = AIMessage(
            "".join(chunk.text for chunk in chunks),
            tool_calls=[call for chunk in chunks for call in chunk.tool_calls],
            usage_metadata=TOKENS,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._pieces(messages):
            if self.between is not None:
                await self.between()
            yield chunk

    def _pieces(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        self.inputs.append(list(messages))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if self.provider_id is not None:
            first = AIMessageChunk(content="", id=f"{self.provider_id}{len(self.inputs)}")
            yield ChatGenerationChunk(message=first)
        message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
        for word in message.text.split(" ") if message.text else []:
            space = "" if message.text.startswith(word) else " "
            yield ChatGenerationChunk(message=AIMessageChunk(content=space + word))
        if message.tool_calls:
            calls = AIMessageChunk(content="", tool_calls=message.tool_calls)
            yield ChatGenerationChunk(message=calls)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=TOKENS))


def calls(*calls: ToolCall, text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=list(calls))


def call(name: str, number: int = 1, **args: Any) -> ToolCall:
    return ToolCall(name=name, args=args, id=f"call_{number}")


def request(
    *texts: str | BaseMessage,
    turn: int = 1,
    parent: int | None = None,
    attempt: int = 1,
    tenant: str = "default",
    session: str = "s",
    new_count: int = 1,
) -> RunRequest:
    """A request with the messages of a person and a model in turns; ids are by the texts."""
    messages = [
        text
        if isinstance(text, BaseMessage)
        else (HumanMessage, AIMessage)[(len(texts) - 1 - index) % 2](text, id=f"msg_{text}")
        for index, text in enumerate(texts)
    ]
    return RunRequest(
        messages=tuple(messages),
        new_count=new_count,
        session_id=session,
        turn_id=f"turn_{turn}",
        attempt=attempt,
        tenant=tenant,
        parent_turn_id=None if parent is None else f"turn_{parent}",
    )


class Run:
    """What came of a run."""

    def __init__(self, outputs: list[Any]) -> None:
        *self.outputs, self.end = outputs

    @property
    def shape(self) -> list[Any]:
        """Texts between steps as one string, calls as tuples of names, results as dicts."""
        shape: list[Any] = []
        for output in self.outputs:
            if isinstance(output, ToolMessage):
                shape.append({output.name: output.text})
            elif not isinstance(output, AIMessageChunk):
                shape.append(tuple(call["name"] for call in output.tool_calls))
            elif shape and isinstance(shape[-1], str):
                shape[-1] += output.text
            elif output.text:
                shape.append(output.text)
        return shape

    @property
    def pieces(self) -> list[str]:
        return [output.text for output in self.outputs if isinstance(output, AIMessageChunk)]

    @property
    def finish_reason(self) -> str:
        return str(self.end.response_metadata["finish_reason"])


async def run(target: object, conversation: RunRequest | None = None) -> Run:
    return Run([output async for output in stream(target, conversation or request("Hello"))])


def tokens(calls: int) -> dict[str, int]:
    return {key: calls * TOKENS[key] for key in ("input_tokens", "output_tokens", "total_tokens")}


def chat(messages: list[BaseMessage]) -> str:
    return messages[-1].text.upper()


def make_chat() -> Callable[[list[BaseMessage]], str]:
    return chat


async def make_model() -> ScriptedModel:
    return ScriptedModel(answers=["made"])


def fail() -> None:
    raise OSError("the key file is missing")


class Box:
    inner = staticmethod(chat)

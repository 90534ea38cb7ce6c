"""Our client of OpenAI's protocol before a server that says what a test wants, byte by byte."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler

from chatkeep.domain.errors import ModelBusy
from chatkeep.providers import chat_completions
from chatkeep.providers.chat_completions import OpenAI
from chatkeep.providers.direct_client import ProviderError
from chatkeep.providers.failures import translate_error
from chatkeep.redaction import Redactor

PROMPT = [("system", "Be kind."), ("user", "Hello?")]
END = b"data: [DONE]\n\n"


def event(text: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, **more}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


class Provider:
    """Answers each request with the same bytes, in pieces; keeps what it was asked."""

    def __init__(self, *pieces: bytes, status: int = 200) -> None:
        self.pieces = pieces
        self.status = status
        self.asked: list[dict[str, Any]] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.asked.append(json.loads(await reader.readexactly(size)))
                writer.write(f"HTTP/1.1 {self.status} Any\r\n".encode())
                writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
                for piece in self.pieces:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()


def talk(provider: Provider, work: Callable[[OpenAI], Awaitable[Any]], model: str = "any") -> Any:
    """Do something with a model behind a provider."""

    async def main() -> Any:
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        client = OpenAI(
            model=model, url=f"http://{host}:{port}/", headers={}, timeout=5, silence_timeout=5
        )
        try:
            return await work(client)
        finally:
            await client.close()
            server.close()

    return asyncio.run(main())


async def texts(model: OpenAI, **more: Any) -> list[str]:
    return [str(chunk.text) async for chunk in model.astream(PROMPT, **more)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_answer_is_read_wherever_it_is_cut(end: bytes) -> None:
    whole = (
        event("Grüß ") + b": a comment\n\n" + event("Gott 👋") + event(finish_reason="stop") + END
    )
    whole = whole.replace(b"\n", end)
    for size in (1, 7, len(whole)):
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert "".join(talk(Provider(*pieces), texts)) == "Grüß Gott 👋"


def test_what_arrives_together_is_passed_on_together() -> None:
    assert talk(Provider(event("a") + event("b") + event("c") + END), texts) == ["abc"]


def test_one_connection_serves_one_call_after_the_other() -> None:
    provider = Provider(event("Yes."), END)

    async def thrice(model: OpenAI) -> None:
        for _ in range(3):
            assert await texts(model) == ["Yes."]

    talk(provider, thrice)
    assert len(provider.asked) == 3
    assert provider.connections == 1


def test_an_error_in_the_middle_of_an_answer_has_its_status() -> None:
    said = b'data: {"error": {"message": "too many", "code": 429}}\n\n'
    with pytest.raises(ProviderError) as raised:
        talk(Provider(event("Half"), said), texts)
    assert isinstance(translate_error(raised.value, Redactor()).error, ModelBusy)
    assert "too many" in str(raised.value)


def test_langchains_callbacks_see_what_they_see_of_other_models() -> None:
    class Handler(AsyncCallbackHandler):
        seen: list[str] = []  # noqa: RUF012  (one handler, one test)

        async def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            self.seen.append("start")

        async def on_llm_new_token(self, token: str, *_: Any, **__: Any) -> None:
            self.seen.append(token)

        async def on_llm_end(self, *_: Any, **__: Any) -> None:
            self.seen.append("end")

    handler = Handler()
    found = talk(
        Provider(event("Yes."), END), lambda model: texts(model, config={"callbacks": [handler]})
    )
    assert "".join(found) == "Yes."
    assert [said for said in handler.seen if said] == ["start", "Yes.", "end"]


def test_a_whole_answer_can_be_asked_for() -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}\n\n'
    provider = Provider(event("Yes."), event(finish_reason="stop"), usage, END)

    answer = talk(provider, lambda model: model.ainvoke("Hello?"))

    assert answer.text == "Yes."
    assert answer.usage_metadata == {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    assert provider.asked[0]["messages"] == [{"role": "user", "content": "Hello?"}]


def test_a_reasoning_model_is_told_as_its_developer() -> None:
    provider = Provider(event("Yes."), END)
    talk(provider, texts, model="o3-mini")
    assert [said["role"] for said in provider.asked[0]["messages"]] == ["developer", "user"]


@pytest.mark.parametrize(
    ("model", "speaks"),
    [("gpt-5-mini", True), ("gpt-5-codex", False), ("gpt-5.2-pro", False), ("llama3.2", True)],
)
def test_models_of_the_other_protocol_are_left_to_langchain(model: str, speaks: bool) -> None:
    assert chat_completions.speaks(model) is speaks

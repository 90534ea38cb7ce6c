"""Our client of OpenAI's protocol before a server that says what a test wants, byte by byte."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from langchain_core.callbacks import AsyncCallbackHandler

from chatkeep.domain.errors import ModelBusy
from chatkeep.providers.chat_completions import ChatCompletions
from chatkeep.providers.direct_client import ProviderError
from chatkeep.providers.failures import translate_error
from chatkeep.providers.openai import direct_client, has_chat_completions
from chatkeep.providers.protocol import ProviderOptions
from chatkeep.redaction import Redactor

PROMPT = [("system", "Be kind."), ("user", "Hello?")]
END = b"data: [DONE]\n\n"


def event(text: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, **more}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def client(url: str, model: str = "any", **more: Any) -> ChatCompletions:
    return ChatCompletions(model=model, url=url, headers={}, timeout=5, silence_timeout=5, **more)


class Provider:
    """Answers each request with the same bytes, in pieces; collects the requests."""

    def __init__(self, *pieces: bytes, status: int = 200) -> None:
        self.pieces = pieces
        self.status = status
        self.bodies: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(size)))
                writer.write(f"HTTP/1.1 {self.status} Any\r\n".encode())
                writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
                for piece in self.pieces:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()


def call(
    provider: Provider, work: Callable[[ChatCompletions], Awaitable[Any]], model: str = "any"
) -> Any:
    """Do something with a model behind a provider."""

    async def main() -> Any:
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        running = client(f"http://{host}:{port}/", model)
        try:
            return await work(running)
        finally:
            await running.close()
            server.close()

    return asyncio.run(main())


async def texts(model: ChatCompletions, **more: Any) -> list[str]:
    return [str(chunk.text) async for chunk in model.astream(PROMPT, **more)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_answer_is_read_wherever_it_is_cut(end: bytes) -> None:
    whole = (
        event("Grüß ") + b": a comment\n\n" + event("Gott 👋") + event(finish_reason="stop") + END
    )
    whole = whole.replace(b"\n", end)
    for size in (1, 7, len(whole)):
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert "".join(call(Provider(*pieces), texts)) == "Grüß Gott 👋"


def test_what_arrives_together_is_passed_on_together() -> None:
    assert call(Provider(event("a") + event("b") + event("c") + END), texts) == ["abc"]


def test_one_connection_serves_one_call_after_the_other() -> None:
    provider = Provider(event("Yes."), END)

    async def thrice(model: ChatCompletions) -> None:
        for _ in range(3):
            assert await texts(model) == ["Yes."]

    call(provider, thrice)
    assert len(provider.bodies) == 3
    assert provider.connections == 1


def test_an_error_in_the_middle_of_an_answer_has_its_status() -> None:
    error = b'data: {"error": {"message": "too many", "code": 429}}\n\n'
    with pytest.raises(ProviderError) as raised:
        call(Provider(event("Half"), error), texts)
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
    chunks = call(
        Provider(event("Yes."), END), lambda model: texts(model, config={"callbacks": [handler]})
    )
    assert "".join(chunks) == "Yes."
    assert [event for event in handler.seen if event] == ["start", "Yes.", "end"]


def test_a_whole_answer_can_be_had_at_once() -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}\n\n'
    provider = Provider(event("Yes."), event(finish_reason="stop"), usage, END)

    answer = call(provider, lambda model: model.ainvoke("Hello?"))

    assert answer.text == "Yes."
    assert answer.usage_metadata == {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    assert provider.bodies[0]["messages"] == [{"role": "user", "content": "Hello?"}]


def test_a_reasoning_models_system_message_is_its_developers() -> None:
    provider = Provider(event("Yes."), END)
    call(provider, texts, model="o3-mini")
    assert [message["role"] for message in provider.bodies[0]["messages"]] == ["developer", "user"]


@pytest.mark.parametrize(
    ("model", "has_it"),
    [("gpt-5-mini", True), ("gpt-5-codex", False), ("gpt-5.2-pro", False), ("llama3.2", True)],
)
def test_models_of_the_other_protocol_are_left_to_langchain(model: str, has_it: bool) -> None:
    assert has_chat_completions(model) is has_it


VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without proxies and authorities."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


async def behind(
    serve: Callable[..., Awaitable[None]], work: Callable[[str], Awaitable[Any]]
) -> Any:
    """Do something with the address of a server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        return await work(f"{host}:{port}")
    finally:
        server.close()


async def text_of(model: ChatCompletions) -> str:
    try:
        return "".join(await texts(model))
    finally:
        await model.close()


def test_a_proxy_of_the_environment_is_used(environment: pytest.MonkeyPatch) -> None:
    proxy = Provider(event("Through the proxy."), END)

    async def work(address: str) -> str:
        environment.setenv("HTTP_PROXY", f"http://{address}")
        return await text_of(client("http://models.example/chat/completions"))

    assert asyncio.run(behind(proxy.serve, work)) == "Through the proxy."
    assert proxy.heads[0].startswith("POST http://models.example/chat/completions HTTP/1.1\r\n")


@pytest.mark.parametrize("way", ["NO_PROXY", "a local model"])
def test_no_proxy_is_used_where_none_is_wanted(environment: pytest.MonkeyPatch, way: str) -> None:
    provider = Provider(event("Without a proxy."), END)
    # Nobody listens there.
    environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    if way == "NO_PROXY":
        environment.setenv("NO_PROXY", "models.example,127.0.0.1")

    async def work(address: str) -> str:
        return await text_of(client(f"http://{address}/", trusts_env=way == "NO_PROXY"))

    assert asyncio.run(behind(provider.serve, work)) == "Without a proxy."


def test_a_secure_address_is_reached_through_a_tunnel(environment: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def work(address: str) -> None:
        environment.setenv("HTTPS_PROXY", f"http://{address}")
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await text_of(client("https://models.example/chat/completions"))

    asyncio.run(behind(refuse, work))
    assert heads[0].startswith(b"CONNECT models.example:443 HTTP/1.1\r\n")
    assert b"chat/completions" not in heads[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for loopback that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *options, *names, *files], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_server_is_trusted_if_the_environment_names_its_authority(
    environment: pytest.MonkeyPatch, authority: tuple[Path, Path], is_trusted: bool
) -> None:
    certificate, key = authority
    if is_trusted:
        environment.setenv("SSL_CERT_FILE", str(certificate))
    provider = Provider(event("In secret."), END)

    async def work() -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=context)
        host, port = server.sockets[0].getsockname()
        try:
            return await text_of(client(f"https://{host}:{port}/"))
        finally:
            server.close()

    if is_trusted:
        assert asyncio.run(work()) == "In secret."
    else:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            asyncio.run(work())
        assert provider.heads == []


def test_the_organization_and_the_project_are_sent(environment: pytest.MonkeyPatch) -> None:
    options = ProviderOptions(timeout=5, first_token_timeout=5, retries=0, max_reply_chars=9)
    environment.setenv("OPENAI_ORG_ID", "org-1")
    environment.setenv("OPENAI_PROJECT_ID", "proj-2")
    both = Provider(event("Yes."), END)
    neither = Provider(event("Yes."), END)

    async def work(address: str) -> None:
        model = direct_client("any", url=f"http://{address}", key="sk-1", options=options)
        await text_of(cast("ChatCompletions", model))

    asyncio.run(behind(both.serve, work))
    environment.delenv("OPENAI_ORG_ID")
    environment.setenv("OPENAI_PROJECT_ID", "")
    asyncio.run(behind(neither.serve, work))

    assert "\r\nAuthorization: Bearer sk-1\r\n" in both.heads[0]
    assert "\r\nOpenAI-Organization: org-1\r\n" in both.heads[0]
    assert "\r\nOpenAI-Project: proj-2\r\n" in both.heads[0]
    assert "OpenAI-" not in neither.heads[0]

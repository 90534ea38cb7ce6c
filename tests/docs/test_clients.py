"""The examples of the pages about clients run as they are, in each client's own environment.

Programs that cannot run here are replayed: with the headers that they make of the page's
configuration.
"""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.clients.environments import Client, development_client, node_client, python_client
from tests.docs.reader import DEFAULT_URL, DOCS, blocks
from tests.process import PATIENCE, Server
from tests.upstream import Call, Upstream

MODEL = "smollm2-135m-instruct"
"""The embedded model, which the pages name; here it is an alias of the scripted one."""

FIRST, SECOND = "My cat is called Minka.", "What is my cat called?"
REPLY = "Reply to: What is my cat called?"


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    """One server for all pages. Its models are those that the pages name."""
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": f"{MODEL}=openai:scripted",
        "CHATKEEP_MODELS": "coder=openai:scripted",
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def read(page: str, language: str, server: Server) -> list[str]:
    """The blocks of a page in one language, with this server's address."""
    return [
        block.text.replace(DEFAULT_URL, server.url)
        for block in blocks(page)
        if block.language == language
    ]


def run(setup: str, command: list[str], folder: Path, path: str = "") -> str:
    """Run a command with the variables that the page's shell commands export."""
    script = f'{setup}\nexec "$@"' if command else setup
    environment = {
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}" if path else os.environ["PATH"],
        "HOME": str(folder),
        "LLM_USER_PATH": str(folder),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script, "bash", *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python_output(page: str, client: Client, server: Server, folder: Path) -> str:
    """What the Python blocks of a page print, one after the other as in a notebook."""
    program = folder / "page.py"
    program.write_text("\n".join(read(page, "python", server)))
    [setup] = read(page, "bash", server)
    return run(setup, [client.interpreter, str(program)], folder)


def script_outputs(page: str, client: Client, server: Server, folder: Path) -> list[str]:
    """What each JavaScript block of a page prints."""
    (folder / "node_modules").symlink_to(client.programs.parent / "node_modules")
    [setup] = read(page, "bash", server)
    outputs = []
    for number, text in enumerate(read(page, "javascript", server)):
        program = folder / f"page-{number}.mjs"
        program.write_text(text)
        outputs.append(run(setup, [client.interpreter, str(program)], folder))
    return outputs


def texts(call: Call) -> list[str]:
    """What a model has read, without the system prompt."""
    return [text for role, text in call.messages if role != "system"]


def cats(server: Server) -> int:
    """How many of the listed sessions are the whole conversation about the cat."""
    wanted = [FIRST, f"Reply to: {FIRST}", SECOND, REPLY]
    return sum(server.contents(session_id) == wanted for session_id in server.sessions())


def remembered(upstream: Upstream) -> bool:
    """Whether a model was sent the whole conversation about the cat."""
    wanted = [FIRST, f"Reply to: {FIRST}", SECOND]
    return any(texts(call) == wanted for call in upstream.replies)


# --- Libraries ---


def test_the_page_about_openai_for_python(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    before = cats(server)
    output = python_output("clients/openai-python.md", development_client(), server, tmp_path)
    cat, rivers, lakes = output.splitlines()
    assert (cat, rivers, lakes) == (REPLY, "Reply to: Name four rivers.", "Reply to: And lakes?")
    assert remembered(upstream)
    assert cats(server) == before + 1
    assert server.contents("rivers") == ["Name four rivers.", rivers]
    assert server.contents("seas") == ["Name four seas.", "Reply to: Name four seas."]


def test_the_page_about_openai_for_javascript(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    before = cats(server)
    outputs = script_outputs("clients/openai-node.md", node_client(), server, tmp_path)
    assert outputs == [f"{REPLY}\n", "Reply to: Name four lakes."]
    assert remembered(upstream)
    assert cats(server) == before + 1


def test_the_page_about_the_agents_sdk(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    output = python_output("clients/openai-agents.md", python_client(), server, tmp_path)
    assert output == f"{REPLY}\n"
    assert remembered(upstream)
    assert server.contents("cats") == [FIRST, f"Reply to: {FIRST}", SECOND, REPLY]


def test_the_page_about_langchain(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    before = cats(server)
    output = python_output("clients/langchain.md", development_client(), server, tmp_path)
    assert output == f"{REPLY}\nReply to: Name four mountains.\n"
    assert remembered(upstream)
    assert cats(server) == before + 1
    assert server.contents("mountains") == ["Name four mountains.", output.splitlines()[1]]


def test_the_page_about_the_ai_sdk(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    before = cats(server)
    outputs = script_outputs("clients/ai-sdk.md", node_client(), server, tmp_path)
    assert outputs == [f"{REPLY}\n"]
    assert remembered(upstream)
    assert cats(server) == before + 1


def test_the_page_about_pydantic_ai(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    before = cats(server)
    output = python_output("clients/pydantic-ai.md", python_client(), server, tmp_path)
    assert output == f"{REPLY}\n"
    assert remembered(upstream)
    assert cats(server) == before + 1


def test_the_page_about_llm(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    [commands] = read("clients/llm.md", "bash", server)
    before = server.get("/sessions?archived=true"), server.sessions()
    output = run(commands, [], tmp_path, str(Path(python_client().interpreter).parent))
    assert output == f"Reply to: {FIRST}\n{REPLY}\n"
    assert remembered(upstream)
    assert (server.get("/sessions?archived=true"), server.sessions()) == before


# --- curl ---


def test_the_page_about_curl(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    before = cats(server)
    output = run("\n".join(read("clients/curl.md", "bash", server)), [], tmp_path)
    continued, _, completion = output.partition('{"id":"chatcmpl-')
    assert json.loads(continued)["output"][0]["content"][0]["text"] == REPLY
    assert '"content":"Reply to: Name four deserts."' in completion
    assert server.contents("deserts") == ["Name four deserts.", "Reply to: Name four deserts."]
    assert remembered(upstream)
    assert cats(server) == before + 1


def test_the_guide(server: Server, tmp_path: Path) -> None:
    page = "guides/openai.md"
    ask, stream, fail = read(page, "bash", server)
    answered = json.loads(run(ask, [], tmp_path))
    assert answered["output"][0]["content"][0]["text"] == "Reply to: What is the capital of France?"

    setup = ask.splitlines()[0]
    resumed = run(f"{setup}\n{stream}", [], tmp_path)
    numbers = [int(number) for number in re.findall(r'"sequence_number":(\d+)', resumed)]
    assert numbers[0] == 6
    assert "event: response.completed" in resumed
    first = (tmp_path / "events").read_text()
    assert first.endswith(resumed)

    [error] = read(page, "json", server)
    assert json.loads(run(f"{setup}\n{fail}", [], tmp_path)) == json.loads(error)


# --- Programs that are replayed ---


class Replayed:
    """A program that calls a server for one of its users; what the server has of that user."""

    def __init__(self, url: str, key: str, user: str) -> None:
        self._url = url
        self._authorization = {"Authorization": f"Bearer {key}"}
        self._user = {"Chatkeep-User": user}

    def ask(self, *messages: tuple[str, str], headers: dict[str, str], **more: Any) -> str:
        """Send a conversation as these programs do; the text of the answer."""
        body = {"messages": [{"role": role, "content": text} for role, text in messages], **more}
        response = httpx2.post(
            f"{self._url}/chat/completions",
            json=body,
            headers=self._authorization | headers,
            timeout=PATIENCE,
        )
        assert response.status_code == 200, response.text
        if not more.get("stream"):
            return str(response.json()["choices"][0]["message"]["content"])
        lines = response.text.splitlines()
        assert [line for line in lines if line][-1] == "data: [DONE]"
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)

    def models(self) -> list[str]:
        response = httpx2.get(f"{self._url}/models", headers=self._authorization)
        return [model["id"] for model in response.json()["data"]]

    def contents(self, session_id: str) -> list[str]:
        return [message["content"] for message in self._get(f"/history/{session_id}")]

    def sessions(self) -> set[str]:
        return {session["session_id"] for session in self._get("/sessions")}

    def siblings(self, session_id: str, number: int) -> list[str]:
        message_id = self._get(f"/history/{session_id}")[number]["id"]
        return [message["content"] for message in self._get(f"/messages/{message_id}/siblings")]

    def _get(self, path: str) -> Any:
        return httpx2.get(self._url.removesuffix("/v1") + path, headers=self._user).json()


def filled(headers: dict[str, str], values: dict[str, str]) -> dict[str, str]:
    """Headers with the program's own values in the places that it fills."""
    for name, value in values.items():
        headers = {key: text.replace(f"{{{{{name}}}}}", value) for key, text in headers.items()}
    assert "{{" not in "".join(headers.values())
    return headers


def test_open_webui(server: Server) -> None:
    """Headers: `get_headers_and_cookies` in its `routers/openai.py`, and `utils/headers.py`."""
    [page] = read("clients/open-webui.md", "ini", server)
    config = dict(line.split("=", 1) for line in page.splitlines())
    assert config["ENABLE_FORWARD_USER_INFO_HEADERS"] == "true"
    own = json.loads(config["OPENAI_API_CONFIGS"])["0"]["headers"]
    webui = Replayed(config["OPENAI_API_BASE_URL"], config["OPENAI_API_KEY"], "u-1")
    model = webui.models()[0]

    def ask(*messages: tuple[str, str], chat: str = "chat-1", task: str = "") -> str:
        forwarded = {
            "X-OpenWebUI-User-Name": "Ada%20L.",
            "X-OpenWebUI-User-Id": "u-1",
            "X-OpenWebUI-User-Email": "ada@example.com",
            "X-OpenWebUI-User-Role": "user",
            "X-OpenWebUI-Chat-Id": chat,
        }
        headers = forwarded | filled(own, {"TASK": task, "USER_ID": "u-1"})
        limits = {"max_completion_tokens": 1000} if task else {}
        return webui.ask(*messages, headers=headers, model=model, stream=not task, **limits)

    reply = ask(("user", "a"))
    assert reply == "Reply to: a"
    ask(("user", "### Task: a title"), task="title_generation")
    ask(("user", "### Task: tags"), task="tags_generation")
    talk = [("user", "a"), ("assistant", reply)]
    ask(*talk, ("user", "b"))
    ask(*talk, ("user", "edited"))
    ask(*talk, ("user", "edited"))
    assert webui.contents("chat-1") == ["a", reply, "edited", "Reply to: edited"]
    assert webui.siblings("chat-1", 2) == ["b", "edited"]
    assert len(webui.siblings("chat-1", 3)) == 2
    ask(("user", "for a moment"), chat="local:socket-1")
    assert webui.sessions() == {"chat-1"}
    assert "chat-1" not in server.sessions()

    # What the page warns of.
    del own["X-OpenWebUI-Task"]
    ask(("user", "### Task: tags"), task="tags_generation")
    assert webui.contents("chat-1") == ["### Task: tags", "Reply to: ### Task: tags"]


def test_librechat(server: Server) -> None:
    """Headers: `resolveHeaders` in its `packages/api/src/utils/env.ts`, for titles too."""
    [page] = read("clients/librechat.md", "yaml", server)
    endpoints = {row["name"]: row for row in yaml.safe_load(page)["endpoints"]["custom"]}
    chats, titles = endpoints.values()
    assert chats["titleEndpoint"] == titles["name"]
    values = {"LIBRECHAT_BODY_CONVERSATIONID": "5b1f-1", "LIBRECHAT_USER_ID": "u-2"}
    headers = filled(chats["headers"], values)
    libre = Replayed(chats["baseURL"], "any", "u-2")
    assert chats["models"]["default"][0] in libre.models()

    def ask(*messages: tuple[str, str]) -> str:
        options = {"model": MODEL, "user": "u-2", "stream": True}
        return libre.ask(*messages, headers=headers, **options)

    reply = ask(("user", "a"))
    title = libre.ask(("user", "Provide a concise title."), headers={}, model=MODEL, user="u-2")
    assert title == "Reply to: Provide a concise title."
    talk = [("user", "a"), ("assistant", reply)]
    ask(*talk, ("user", "b"))
    ask(*talk, ("user", "b"))
    assert libre.contents("5b1f-1") == ["a", reply, "b", "Reply to: b"]
    assert len(libre.siblings("5b1f-1", 3)) == 2
    assert libre.sessions() == {"5b1f-1"}


def test_codex(server: Server, upstream: Upstream) -> None:
    """A request as Codex CLI 0.169 sends it to a model whose name it does not know."""
    [page] = read("clients/coding-tools.md", "toml", server)
    config = tomllib.loads(page)
    provider = config["model_providers"][config["model_provider"]]
    assert provider["wire_api"] == "responses"
    before = server.sessions().keys()
    body = {
        "model": config["model"],
        "input": [
            {
                "type": "message",
                "id": f"msg_01a22700-f320-7832-bc53-47cf70305cb{number}",
                "role": role,
                "content": [{"type": "input_text", "text": text}],
            }
            for number, (role, text) in enumerate(
                [
                    ("developer", "You are a coding agent."),
                    ("user", "<environment_context>"),
                    ("user", "Explain."),
                ]
            )
        ],
        "tools": [
            {
                "type": "function",
                "name": "exec_command",
                "strict": False,
                "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
            },
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199-codex",
        "client_metadata": {"x-codex-installation-id": "1"},
    }
    response = httpx2.post(f"{provider['base_url']}/responses", json=body, timeout=PATIENCE)
    assert response.status_code == 200, response.text
    assert "event: response.completed" in response.text
    assert '"text":"Reply to: Explain."' in response.text
    assert upstream.replies[-1].tools == ["exec_command"]
    assert server.sessions().keys() == before


def test_every_page_about_a_client_is_in_the_guide() -> None:
    guide = (DOCS / "guides" / "openai.md").read_text()
    named = set(re.findall(r"\(\.\./clients/([\w-]+\.md)\)", guide))
    assert named == {path.name for path in (DOCS / "clients").glob("*.md")}

"""Each provider's own LangChain client, speaking its own protocol to a real endpoint."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.llama import KEY, llama
from tests.process import Server
from tests.upstream import Answer, Call, Upstream, polite

OPENING = ("user", "(The beginning of this conversation is left out.)")


@pytest.fixture(scope="module", params=["direct", "langchain"])
def running_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    running_upstream: Upstream,
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_MODEL_CLIENT": request.param,
        "CHATKEEP_MODELS": "anthropic:scripted, ollama:scripted",
        "CHATKEEP_TITLE_MODEL": "ollama:titles",
        "CHATKEEP_SYSTEM_PROMPT": "Be kind.",
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def test_real_llama_cpp_is_spoken_to_in_openais_and_in_anthropics_protocol(tmp_path: Path) -> None:
    with llama() as url:
        env = {
            "CHATKEEP_MODEL": "anthropic:local",
            "CHATKEEP_MODELS": "openai:local",
            "CHATKEEP_MODEL_TIMEOUT": "300",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": KEY,
        }
        with Server(tmp_path, env) as server:
            for model in ("anthropic:local", "openai:local"):
                # The fourth turn's window begins with the assistant.
                for number in range(4):
                    answer = server.chat(model, f"Say {number}.", model=model, max_tokens=8)
                    assert answer.status_code == 200, answer.text
                    assert answer.json()["response"].strip()
                    assert answer.json()["usage"]["output_tokens"] > 0
                    ends = {"stop", "length", "end_turn", "max_tokens"}
                    assert answer.json()["finish_reason"] in ends
                assert len(server.history(model)) == 8


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
def test_a_turn_is_sent_and_read_in_the_providers_protocol(
    server: Server, upstream: Upstream, session: str, provider: str
) -> None:
    options = {"model": f"{provider}:scripted", "temperature": 0.5, "max_tokens": 50}

    answer = server.chat(session, "good morning", **options).json()

    assert answer["response"] == "Reply to: good morning"
    assert answer["usage"] == {"input_tokens": 11, "output_tokens": 7}
    (call,) = upstream.replies
    assert call.messages == [("system", "Be kind."), ("user", "good morning")]
    sent_params = call.body["options"] if provider == "ollama" else call.body
    assert sent_params["temperature"] == 0.5
    limits = {"openai": "max_completion_tokens", "anthropic": "max_tokens", "ollama": "num_predict"}
    assert sent_params[limits[provider]] == 50
    if provider != "ollama":
        assert "test-0123456789" in call.headers["authorization"]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
def test_the_five_messages_are_kept_where_a_conversation_must_begin_with_the_user(
    server: Server, upstream: Upstream, session: str, provider: str
) -> None:
    def strict(call: Call) -> Answer:
        roles = [role for role, _ in call.messages if role != "system"]
        if provider == "anthropic" and roles[0] != "user":
            return Answer(status=400)
        return polite(call)

    upstream.script = strict
    for number in range(4):
        answer = server.chat(session, f"q{number}", model=f"{provider}:scripted")
        assert answer.status_code == 200, answer.text

    sent = [message for message in upstream.replies[3].messages if message[0] != "system"]
    opening = [OPENING] if provider == "anthropic" else []
    assert sent == [
        *opening,
        ("assistant", "Reply to: q0"),
        ("user", "q1"),
        ("assistant", "Reply to: q1"),
        ("user", "q2"),
        ("assistant", "Reply to: q2"),
        ("user", "q3"),
    ]


def test_the_title_is_made_by_the_title_model_which_is_not_on_offer(
    server: Server, upstream: Upstream, session: str
) -> None:
    answer = server.chat(session, "a walk in the hills").json()

    assert answer["title"] == "a walk in"
    assert [call.path for call in upstream.titles] == ["/api/chat"]
    assert upstream.titles[0].body["model"] == "titles"
    refused = server.chat(session, "use the title model", model="ollama:titles")
    assert refused.status_code == 422
    assert "openai:scripted, anthropic:scripted, ollama:scripted" in refused.json()["detail"]


def test_a_turns_own_system_prompt_wins(server: Server, upstream: Upstream, session: str) -> None:
    server.chat(session, "good morning", system_prompt="Be brief.")

    assert upstream.replies[0].messages[0] == ("system", "Be brief.")

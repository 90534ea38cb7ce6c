"""A model's text made fit to be stored, and a provider's failure translated without its secrets."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.errors import ContextTooLong, ModelBusy, ModelFailed, ModelMisconfigured
from chatkeep.providers.failures import translate_error
from chatkeep.providers.protocol import Access, ProviderOptions
from chatkeep.providers.registry import ProviderSettings, create_model
from chatkeep.providers.text import Cleaner
from chatkeep.redaction import Redactor

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)


def in_utf16_units(text: str) -> list[str]:
    """As JSON escapes cut it: every character beyond the first plane in two halves."""
    units = text.encode("utf-16-le", "surrogatepass")
    return [units[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), 2)]


@given(st.lists(st.text(max_size=20)))
def test_good_text_is_kept_however_it_is_cut(pieces: list[str]) -> None:
    text = "".join(pieces).replace("\0", "")
    cleaner = Cleaner()

    cleaned = [cleaner.clean(unit) for unit in in_utf16_units(text)]

    assert "".join(cleaned) + cleaner.end() == text


@given(ANY_TEXT)
def test_any_text_can_be_stored_after_it_was_cleaned(text: str) -> None:
    cleaner = Cleaner()

    cleaned = "".join(map(cleaner.clean, text)) + cleaner.end()

    assert "\0" not in cleaned
    cleaned.encode()


NOTHING = Redactor()


class ProviderError(Exception):
    def __init__(self, status: int, said: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(said)
        request = httpx2.Request("POST", "http://provider")
        self.response = httpx2.Response(status, headers=headers or {}, request=request)
        self.status_code = status
        self.body = {"error": {"message": said}}


def test_a_providers_words_are_passed_on_without_keys_addresses_and_paths() -> None:
    said = "Bad value for sk-abcdef123456 at https://internal.example/x in /srv/app/main.py"

    error = translate_error(ProviderError(400, said), NOTHING).error

    assert isinstance(error, ModelFailed)
    assert error.detail.endswith("Bad value for … at … in …")


@pytest.mark.parametrize(
    "secret",
    [
        *("Bearer abcdef123", "AKIAIOSFODNN7EXAMPLE", "postgres://u:p@h/db", "10.1.2.3:8080"),
        *("/etc", "/srv/app/main.py", r"C:\Users\me\secret.txt", "hf_AbCdEf123456"),
        *("eyJhbGciOi.eyJzdWIi", "3f9a7c5d1b2e4f6089abcdef01234567"),
    ],
)
def test_what_looks_like_a_secret_or_a_place_of_the_provider_is_struck_out(secret: str) -> None:
    error = translate_error(
        ProviderError(400, f"Cannot use {secret} and/or gpt-5.6 today."), NOTHING
    ).error

    assert error.detail.endswith("Cannot use … and/or gpt-5.6 today.")


def test_a_refused_key_is_our_configuration() -> None:
    error = translate_error(
        ProviderError(401, "Incorrect API key provided: sk-abcdef"), NOTHING
    ).error

    assert isinstance(error, ModelMisconfigured)
    assert "sk-" not in error.detail


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 529])
def test_a_failure_that_may_pass_is_retryable(status: int) -> None:
    failure = translate_error(ProviderError(status, "later", {"retry-after": "3"}), NOTHING)

    assert isinstance(failure.error, ModelFailed)
    assert failure.error.detail == f"The model's provider failed (HTTP {status})."
    assert failure.retryable
    assert failure.retry_after == 3


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 410, 413, 422, 424, 426, 499])
def test_a_failure_that_would_come_again_is_not_retryable(status: int) -> None:
    assert not translate_error(ProviderError(status, "no", {"retry-after": "3"}), NOTHING).retryable


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_conversation_that_is_too_long_has_its_own_error(status: int) -> None:
    said = "This model's maximum context length is 8192 tokens"
    assert isinstance(translate_error(ProviderError(status, said), NOTHING).error, ContextTooLong)


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access("api.openai.com", "OPENAI_BASE_URL", "OPENAI_API_KEY", is_public=True),
         "The model could not be reached at api.openai.com. Check the server's network."),
        (Access("[::1]:11434", "OLLAMA_HOST"),
         "The model could not be reached at [::1]:11434. Check that it is running, and OLLAMA_HOST "
         "on the server."),
        (Access(), "The model could not be reached. Check the server's network."),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_reached_is_told_with_where_it_should_be(
    access: Access, words: str
) -> None:
    failure = translate_error(httpx2.ConnectError("no route"), NOTHING, access)

    assert isinstance(failure.error, ModelFailed)
    assert failure.error.detail == words
    assert failure.retryable


def test_the_address_of_a_provider_is_told_without_a_password() -> None:
    settings = ProviderSettings.model_construct(
        ollama_host="http://me:secret@models.example:8443/path"
    )
    options = ProviderOptions(timeout=1, first_token_timeout=1, retries=0, max_reply_chars=1)

    def access(name: str) -> Access:
        return create_model(name, settings, options).access

    assert access("ollama:any") == Access("models.example:8443", "OLLAMA_HOST")
    assert access("openai:any").address == "api.openai.com"
    assert access("anthropic:any").address == "api.anthropic.com"
    assert access("local:smollm2-135m-instruct") == Access()


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=100)

    seconds = translate_error(ProviderError(429, "slow down", {"retry-after": "7"}), NOTHING)
    date = translate_error(
        ProviderError(429, "slow down", {"retry-after": format_datetime(later)}), NOTHING
    )

    assert isinstance(seconds.error, ModelBusy)
    assert seconds.error.retry_after == 7
    assert date.retry_after is not None
    assert 90 < date.retry_after <= 100

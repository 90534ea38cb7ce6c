"""Settings: from the environment, from the file, and refused when they cannot be meant."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from chatkeep.settings import ConfigurationError, Settings, unknown_variables


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_without_any_setting_the_embedded_model_answers_on_loopback() -> None:
    settings = Settings()

    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.models_on_offer == ("local:smollm2-135m-instruct",)
    assert settings.database.endswith("/chatkeep/chatkeep.db")


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "chatkeep.toml").write_text(
        'port = 9000\nmodel = "ollama:llama3.2"\nmodels = ["openai:gpt-5"]\nopenai_api_key = "k"\n'
    )
    monkeypatch.setenv("CHATKEEP_PORT", "9001")

    settings = Settings()

    assert settings.port == 9001
    assert settings.models_on_offer == ("ollama:llama3.2", "openai:gpt-5")
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "k"
    assert "'k'" not in repr(settings)


def test_models_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATKEEP_MODELS", "openai:gpt-5, ollama:llama3:8b ,")

    assert Settings().models == ("openai:gpt-5", "ollama:llama3:8b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATKEEP_MODEL", "gpt-5"),
        ("CHATKEEP_MODEL", "openai:"),
        ("CHATKEEP_MODELS", "openai:gpt-5,gemini:pro"),
        ("CHATKEEP_PORT", "70000"),
        ("CHATKEEP_HOST", "0.0.0.0"),
        ("CHATKEEP_HOST", "::"),
        ("CHATKEEP_DATABASE_URL", "mysql://x"),
        ("CHATKEEP_MODEL_TIMEOUT", "0"),
        ("OPENAI_API_KEY", "sk-…"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_another_address_needs_to_be_said_in_so_many_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATKEEP_HOST", "0.0.0.0")
    monkeypatch.setenv("CHATKEEP_LISTEN_WITHOUT_KEY", "true")

    assert Settings().host == "0.0.0.0"


def test_a_misspelt_setting_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHATKEEP_MODLE", "openai:gpt-5")
    assert unknown_variables() == ["CHATKEEP_MODLE"]

    (tmp_path / "chatkeep.toml").write_text("prot = 9000\n")
    with pytest.raises(ValidationError):
        Settings()


def test_a_configuration_file_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATKEEP_CONFIG", "nowhere.toml")
    with pytest.raises(ConfigurationError):
        Settings()

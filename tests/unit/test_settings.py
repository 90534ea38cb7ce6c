"""Settings: from the environment, from the file, and refused when they cannot be meant."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from chatkeep.cli import configuration
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
        ("CHATKEEP_TRUSTED_PROXIES", "proxy.example"),
        ("CHATKEEP_ADMIN_KEY", "short"),
        ("CHATKEEP_TRUSTED_USER_HEADER", "X-Forwarded-User"),
        ("CHATKEEP_DATABASE_URL", "mysql://x"),
        ("CHATKEEP_MODEL_TIMEOUT", "0"),
        ("OPENAI_API_KEY", "sk-…"),
        ("CHATKEEP_MODEL", "openai: gpt-5"),
        ("CHATKEEP_MODEL", "  "),
        ("CHATKEEP_TITLE_MODEL", "gpt-5"),
        ("CHATKEEP_MODEL_TIMEOUT", "inf"),
        ("CHATKEEP_MODEL_TIMEOUT", "nan"),
        ("CHATKEEP_READER_TIMEOUT", "1e20"),
        ("CHATKEEP_HEARTBEAT_SECONDS", "1e-9"),
        ("CHATKEEP_DRAIN_SECONDS", "-1"),
        ("CHATKEEP_WRITE_QUEUE", "9" * 30),
        ("CHATKEEP_DATA_DIR", "  "),
        ("CHATKEEP_DATABASE_URL", "sqlite:///"),
        ("CHATKEEP_DATABASE_URL", "sqlite:///chatkeep.db?mode=ro"),
        ("CHATKEEP_HOST", "a b"),
        ("CHATKEEP_HOST", "http://localhost"),
        ("CHATKEEP_ALLOWED_HOSTS", "https://chat.example"),
        ("CHATKEEP_ALLOWED_HOSTS", "*.example"),
        ("CHATKEEP_ALLOWED_ORIGINS", "chat.example"),
        ("CHATKEEP_ALLOWED_ORIGINS", "https://chat.example/page"),
        ("CHATKEEP_ALLOWED_ORIGINS", "*"),
        ("CHATKEEP_ALLOWED_ORIGINS", "null"),
        ("CHATKEEP_SYSTEM_PROMPT", "be \udcff kind"),
        ("OPENAI_BASE_URL", "not a url"),
        ("OPENAI_BASE_URL", "127.0.0.1:1/v1"),
        ("OPENAI_BASE_URL", "file:///etc"),
        ("OPENAI_BASE_URL", "http:///v1"),
        ("OPENAI_BASE_URL", "http://host:port/v1"),
        ("OPENAI_BASE_URL", "http://host:70000/v1"),
        ("OPENAI_BASE_URL", "http://user:pass@host/v1"),
        ("OPENAI_BASE_URL", "http://host/v1?key=1"),
        ("OPENAI_BASE_URL", "http://host/v1#"),
        ("OPENAI_BASE_URL", "http://ho st/v1"),
        ("ANTHROPIC_BASE_URL", "http://a..b"),
        ("OLLAMA_HOST", "http://host:port"),
        ("OLLAMA_HOST", "ftp://host"),
        ("OLLAMA_HOST", "ho st"),
        ("OLLAMA_HOST", "host?x"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        configuration.read()

    (line,) = str(refused.value).splitlines()
    assert name.removeprefix("CHATKEEP_").lower() in line.lower()
    # A password may be in it.
    assert not name.endswith("_BASE_URL") or value not in line


def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sk-of-a-file\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(file))
    monkeypatch.setenv("CHATKEEP_ADMIN_KEY_FILE", str(file))
    file.write_text("a-secret-of-thirty-two-characters\n")

    settings = configuration.read()
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "a-secret-of-thirty-two-characters"
    assert "a-secret-of-thirty-two-characters" in settings.secrets
    assert unknown_variables() == []

    monkeypatch.setenv("CHATKEEP_ADMIN_KEY", "x" * 32)
    with pytest.raises(ConfigurationError, match="are both set"):
        configuration.read()
    monkeypatch.delenv("CHATKEEP_ADMIN_KEY")
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        configuration.read()


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


LIMITS = {
    name: schema
    for name, schema in Settings.model_json_schema(by_alias=False)["properties"].items()
    if schema.get("type") in {"integer", "number"}
}
NAMES = {
    name: f"CHATKEEP_{name.upper()}" if field.validation_alias is None else name.upper()
    for name, field in Settings.model_fields.items()
}
HOSTILE = (
    "inf",
    "-inf",
    "nan",
    "1e20",
    "-1",
    "9" * 40,
    "☃",
    "a b",
    "http://",
    "[",
    "%00",
    "\udcff",
)
IN_A_FILE = (
    *(r'"\u0000"', r'"x\u0000y"', r'"\n"', r'"a\nb"', r'"\u0085"', '""', r'["a\u0000"]', "[1]"),
    *("inf", "-inf", "nan", "1e20", "-1", "9" * 30, "true", "2026-01-01", "{}"),
)


def check_usable(settings: Settings) -> None:
    """Whatever was accepted is finite, within limits, and text that can be sent."""
    for name, schema in LIMITS.items():
        assert schema["minimum"] <= getattr(settings, name) <= schema["maximum"] <= 2**40
    values = [value for value in settings.model_dump().values() if isinstance(value, str | tuple)]
    texts = [text for value in values for text in ((value,) if isinstance(value, str) else value)]
    for text in texts:
        assert text.encode().strip() == text.encode()
        assert "\0" not in text
    assert settings.model
    assert settings.host


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_value_is_refused_by_the_settings_name_or_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    def check() -> None:
        reason = ""
        try:
            check_usable(configuration.read())
        except ConfigurationError as error:
            reason = str(error)
        assert name in reason.lower() or not reason
        assert len(reason.splitlines()) <= 1

    for value in HOSTILE:
        monkeypatch.setenv(NAMES[name], value)
        check()
    monkeypatch.delenv(NAMES[name])
    for value in IN_A_FILE:
        (tmp_path / "chatkeep.toml").write_text(f"{name} = {value}\n")
        check()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_variable_is_one_that_is_not_set(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(NAMES[name], "")

    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize("name", LIMITS)
def test_every_number_has_a_least_and_a_largest_value(name: str) -> None:
    assert {"minimum", "maximum"} <= set(LIMITS[name])


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("localhost", "http://localhost:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("box.local:11434/ollama/", "http://box.local:11434/ollama"),
        (" http://box.local/ ", "http://box.local"),
        ("https://box.local:8443", "https://box.local:8443"),
        ("https://user:word@box.local", "https://user:word@box.local"),
    ],
)
def test_ollamas_address_is_read_as_ollama_reads_it(
    monkeypatch: pytest.MonkeyPatch, value: str, url: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", value)

    assert Settings().ollama_host == url


def test_white_space_around_a_value_is_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", " http://127.0.0.1:1/v1\n")
    monkeypatch.setenv("CHATKEEP_HOST", " [::1] ")
    monkeypatch.setenv("CHATKEEP_ALLOWED_ORIGINS", " https://Chat.Example/ ,app://obsidian.md")
    monkeypatch.setenv("CHATKEEP_SYSTEM_PROMPT", "Be kind.\n\nBe brief.\n")

    settings = Settings()

    assert settings.openai_base_url == "http://127.0.0.1:1/v1"
    assert settings.host == "::1"
    assert settings.allowed_origins == ("https://chat.example", "app://obsidian.md")
    assert settings.system_prompt == "Be kind.\n\nBe brief."


@pytest.mark.parametrize(
    "settings",
    [
        {"models": "x=openai:1,x=openai:2"},
        {"model": "x=openai:1", "title_model": "x=openai:2"},
        {"title_model": "nothing"},
        {"model": "x=python:no attribute"},
        {"model": "x=python:module:attribute?twice=true"},
    ],
    ids=str,
)
def test_an_alias_is_of_one_model(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"alias|must be written as|has no option"):
        Settings(**settings)


def test_a_title_model_may_be_an_alias() -> None:
    settings = Settings(models="fast=openai:1", title_model="fast")
    assert settings.title_model == "fast"

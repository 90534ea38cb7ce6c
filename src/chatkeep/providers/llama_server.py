"""The embedded model's own process: llama.cpp's server on loopback, alive as long as its parent.

Run as a program by `llama_process.py`. The first line on standard input is the configuration as
JSON. Standard input ends even when the parent is killed: then this process stops.
"""

import json
import os
import signal
import sys


def main() -> None:
    """Load the model, say on standard output where it listens, and wait for the end."""
    # The parent decides when to stop: it may still be waiting for answers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    config = json.loads(sys.stdin.readline())

    import xllamacpp  # only this process needs it, and it loads a large library

    params = xllamacpp.CommonParams()
    params.model.path = config["path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.n_parallel = config["parallel"]
    params.n_ctx = config["context_tokens"]
    params.kv_unified = True
    params.n_predict = config["max_tokens"]
    params.cpuparams.n_threads = config["threads"]
    params.cpuparams_batch.n_threads = config["prompt_threads"]
    server = xllamacpp.Server(params)
    sys.stdout.write(server.listening_address + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    # At once: an answer in progress has no reader any more.
    os._exit(0)


if __name__ == "__main__":
    main()

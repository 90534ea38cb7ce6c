"""The checks of `chatkeep doctor`. Each is a function that returns findings."""

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import httpx2

from chatkeep import __version__
from chatkeep.addresses import is_ip_address, is_loopback
from chatkeep.app import make_providers
from chatkeep.cli import configuration, postgres_diagnostics
from chatkeep.cli.findings import Finding
from chatkeep.cli.server.local import database_path
from chatkeep.domain.errors import ChatError
from chatkeep.domain.model import CallKind, MessageContent, Prompt, Role
from chatkeep.providers import Listener, Providers
from chatkeep.providers.registry import split_alias
from chatkeep.settings import ConfigurationError, Settings, config_file, unknown_variables
from chatkeep.store import backup, database_files
from chatkeep.store.lock import find_holder
from chatkeep.store.server_checks import Schema

MIN_FREE_BYTES = 1_073_741_824
MODEL_SECONDS = 120
PROBE_TOKENS = 16

MANY_ADDRESSES = 256
"""Trusted proxies beyond which a network was meant rather than proxies."""


def run(*, call_models: bool) -> list[Finding]:
    """Run the checks in the order in which they matter; later ones are left out if none can start.

    Args:
        call_models: Whether each model is sent a message, which its provider may charge for.

    """
    findings = [
        Finding(
            f"Chatkeep {__version__}, Python {sys.version.split()[0]}, "
            f"SQLite {sqlite3.sqlite_version}"
        )
    ]
    try:
        settings = configuration.read()
    except ConfigurationError as error:
        return [
            *findings,
            *(Finding(line, "error", "Correct it.") for line in str(error).split("\n")),
        ]
    findings += _settings()
    if settings.uses_postgres:
        findings += _postgres(settings)
    else:
        findings += _folder(settings)
        findings += _database(settings)
    findings += _proxies(settings)
    findings += _listener(settings) if settings.uses_postgres else _server(settings)
    if call_models:
        findings += asyncio.run(_models(settings))
    return findings


def _settings() -> Iterator[Finding]:
    source = config_file()
    yield Finding(f"Settings: the environment{f', {source}' if source else ''}")
    for name in unknown_variables():
        advice = "Is it misspelt? The documentation lists all settings."
        yield Finding(f"{name} is not a setting and has no effect", "warning", advice)


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = database_path(settings).parent
    if not folder.exists():
        yield Finding(f"Data folder {folder} will be created at the first start")
        return
    if not os.access(folder, os.W_OK):
        advice = "Give the user that runs Chatkeep permission to write there."
        yield Finding(f"Data folder {folder} cannot be written to", "error", advice)
        return
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        advice = "Free some space, or messages cannot be stored."
        yield Finding(f"Data folder {folder} has {free:,} bytes left", "warning", advice)
    else:
        yield Finding(f"Data folder {folder}, {free // 2**30:,} GiB free")
    advice = f"If others use this machine, run: chmod 700 {folder}"
    if database_files.is_writable_by_others(folder):
        yield Finding(f"Data folder {folder} can be written to by others", "warning", advice)
    elif folder.stat().st_mode & database_files.FOR_OTHERS:
        yield Finding(f"Data folder {folder} can be read by others", "warning", advice)


def _database(settings: Settings) -> Iterator[Finding]:
    path = database_path(settings)
    for file in database_files.exposed(path):
        advice = f"The server corrects this when it starts; or run: chmod 600 {file}"
        yield Finding(f"{file} can be read or written by others", "warning", advice)
    if reason := database_files.obstacle(path):
        yield Finding(reason, "error", "The server cannot start until this is fixed.")
        return
    if not path.exists():
        yield Finding(f"Database {path} will be created at the first start")
        return
    try:
        contents = backup.check(path)
    except backup.NoBackup as error:
        advice = "Keep the file; `chatkeep restore` replaces it with a backup."
        yield Finding(str(error), "error", advice)
        return
    size = (
        f"{contents.sessions:,} sessions, {contents.messages:,} messages, {contents.bytes:,} bytes"
    )
    yield Finding(f"Database {path} is intact: {size}")
    yield _keys(settings, contents.keys)


def _postgres(settings: Settings) -> Iterator[Finding]:
    state, findings = postgres_diagnostics.inspect(settings)
    yield from findings
    if state is not None and state.schema is not Schema.TOO_NEW:
        yield _keys(settings, state.contents.keys if state.contents else None)


def _keys(settings: Settings, keys: int | None) -> Finding:
    """Say who may call the server; `keys` as in `backup.Contents`."""
    if keys:
        return Finding(f"Every caller needs a key ({keys:,} valid)")
    if keys == 0 or settings.requires_key:
        advice = "`chatkeep keys create` makes one."
        return Finding("Every caller needs a key, and there is none that holds", "warning", advice)
    if is_loopback(settings.host):
        return Finding("No key is needed, because only this machine can reach the server")
    advice = "`chatkeep keys create` makes a key; from then on everybody needs one."
    if settings.listen_without_key:
        what = f"Whoever reaches {settings.host} can read and delete everything without a key"
        return Finding(what, "warning", advice)
    return Finding(f"Without a key the server does not listen on {settings.host}", "error", advice)


def _proxies(settings: Settings) -> Iterator[Finding]:
    for proxy in settings.trusted_proxies:
        network = ip_network(proxy)
        if network.num_addresses > MANY_ADDRESSES:
            what = f"{network.num_addresses:,} addresses are trusted as proxies ({proxy})"
            advice = "Whoever calls from one of them can be anybody; name the proxy's own address."
            yield Finding(what, "warning", advice)


def _server(settings: Settings) -> Iterator[Finding]:
    try:
        holder = find_holder(database_path(settings))
    except ChatError as error:
        yield Finding(error.detail, "error", "Run this as the user that runs Chatkeep.")
        return
    if holder is None:
        yield from _port(settings)
        return
    if not (address := holder.address):
        yield Finding("Another Chatkeep is using the database", "warning", "Is it just starting?")
        return
    try:
        yield _readiness(address, _ready(address))
    except httpx2.RequestError:
        advice = "Look at its log; stop it if it hangs."
        yield Finding(f"The server at {address} does not answer", "error", advice)


def _listener(settings: Settings) -> Iterator[Finding]:
    """Look for a server where one would listen: at PostgreSQL no lock names it."""
    host = settings.host.strip("[]")
    is_any = is_ip_address(host) and ip_address(host).is_unspecified
    address = f"http://{'127.0.0.1' if is_any else settings.host}:{settings.port}"
    try:
        ready = _ready(address)
    except (httpx2.RequestError, httpx2.InvalidURL):
        yield from _port(settings)
        return
    if ready.status_code in {200, 503}:
        yield _readiness(address, ready)
    else:
        yield from _port(settings)


def _ready(address: str) -> httpx2.Response:
    return httpx2.get(f"{address}/readyz", timeout=10, trust_env=False)


def _readiness(address: str, ready: httpx2.Response) -> Finding:
    if ready.is_success:
        return Finding(f"A server answers at {address}")
    return Finding(f"The server at {address} is not accepting turns: {ready.text}", "warning")


def _port(settings: Settings) -> Iterator[Finding]:
    address = f"{settings.host}:{settings.port}"
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host.strip("[]"), settings.port))
    except OSError as error:
        advice = "Another program uses it, or it is not an address of this machine."
        yield Finding(f"Cannot listen on {address}: {error.strerror}", "error", advice)
    else:
        yield Finding(f"No server is running; {address} is free")


async def _agent(providers: Providers, name: str) -> Finding:
    """Import an object of the operator's own. It is not called: it may do what cannot be undone."""
    try:
        async with asyncio.timeout(MODEL_SECONDS):
            await providers.load(name)
    except ChatError as error:
        cause = error.__cause__
        reason = f"{type(cause).__name__}: {cause}" if cause else error.detail
        return Finding(f"{name} cannot be loaded: {reason}", "error", providers.advice(name))
    except TimeoutError:
        reason = f"{name} was not loaded in {MODEL_SECONDS} seconds"
        return Finding(reason, "error", providers.advice(name))
    return Finding(f"{name} is loaded")


async def _models(settings: Settings) -> list[Finding]:
    """Send each model a short message, as a turn would."""
    try:
        providers = make_providers(settings)
    except ChatError as error:
        return [Finding(error.detail, "error", "Correct CHATKEEP_MODEL or CHATKEEP_MODELS.")]
    findings = []
    title_model = split_alias(settings.title_model)[0] or providers.title_model
    for name in dict.fromkeys((*providers.names, *((title_model,) if title_model else ()))):
        if providers.capabilities(name).is_agent:
            findings.append(await _agent(providers, name))
            continue
        prompt = Prompt(None, (MessageContent(Role.USER, "Say yes."),), max_tokens=PROBE_TOKENS)
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                listener = Listener(lambda _: None)
                await providers.answer(
                    name, prompt, listener, kind=CallKind.REPLY, calls=[], retries=0
                )
        except ChatError as error:
            findings.append(Finding(f"{name}: {error.detail}", "error", providers.advice(name)))
        except TimeoutError:
            reason = f"{name} did not answer in {MODEL_SECONDS} seconds"
            findings.append(Finding(reason, "error", providers.advice(name)))
        else:
            findings.append(Finding(f"{name} answers"))
    await providers.close()
    return findings

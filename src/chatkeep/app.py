"""The server put together: settings into parts, parts into an application that owns them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import iter_route_contexts

from chatkeep import __version__, telemetry
from chatkeep.access.service import AccessService, AccessSettings
from chatkeep.access.tenants import TenantService
from chatkeep.addresses import is_loopback
from chatkeep.api import error_handlers, problems
from chatkeep.api.authentication import Authentication, TrustedProxies
from chatkeep.api.dependencies import Services
from chatkeep.api.document import DocumentedAPI
from chatkeep.api.guards import Guard
from chatkeep.api.mounting import Mounted
from chatkeep.api.openai import (
    chat_completions,
    compact_routes,
    conversation_routes,
    response_routes,
    websocket,
)
from chatkeep.api.openai import models as openai_models
from chatkeep.api.responses import Responses
from chatkeep.api.routes import (
    chat,
    events,
    files,
    health,
    keys,
    me,
    models,
    page,
    search,
    sessions,
    tenants,
    transfer,
    turns,
    usage,
    users,
)
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError, UnsafeAddress
from chatkeep.domain.model import SystemPrompts
from chatkeep.leases import LeaseKeeper
from chatkeep.notifications import Notifications
from chatkeep.providers import ProviderOptions, Providers, tracing
from chatkeep.providers.registry import split_alias
from chatkeep.redaction import Redactor
from chatkeep.sessions.purge import TASKS as SESSION_TASKS
from chatkeep.sessions.purge import Purge
from chatkeep.sessions.retention import Retention
from chatkeep.sessions.service import SessionService
from chatkeep.settings import Settings
from chatkeep.shared_notifications import SharedNotifications
from chatkeep.store.database import Store
from chatkeep.store.opening import make_store
from chatkeep.titles.calls import TitleCalls, TitleSettings
from chatkeep.transfer.imports import ImportService
from chatkeep.turns.finish import TurnFinisher
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_readers import RemoteReaders
from chatkeep.turns.remote_turns import RemoteTurns
from chatkeep.turns.runner import TurnRunner, TurnSettings
from chatkeep.turns.service import TurnService

logger = telemetry.logger("app")

ROUTES = (
    *(chat, turns, sessions, files, search, transfer, events, usage, models),
    *(me, users, keys, tenants, health, page, openai_models, response_routes),
    *(conversation_routes, chat_completions),
)
"""The modules with a `router`, in the order of the OpenAPI document."""

ROUTERS = (
    *(module.router for module in ROUTES),
    *(response_routes.posts, conversation_routes.posts, compact_routes.router, websocket.router),
)

CONVERSING = ("/chat", "/v1/responses", "/v1/responses/compact", "/v1/chat/completions")
"""Addresses whose bodies may have pictures."""

EXPOSED_HEADERS = (
    *("Content-Disposition", "Content-Location", "ETag"),
    *("Idempotent-Replayed", "Link", "Retry-After"),
)
"""Response headers that a page of another origin may read."""


@dataclass(slots=True)
class Lifecycle:
    """Starts and stops the parts of a server, in the order in which they need each other."""

    services: Services
    registry: TurnRegistry
    runner: TurnRunner
    remote_turns: RemoteTurns
    remote_readers: RemoteReaders
    leases: LeaseKeeper
    titles: TitleCalls
    purge: Purge
    retention: Retention
    background: BackgroundTasks
    may_be_keyless: bool
    """False for an address that others can reach: then a key is needed."""
    warming: "asyncio.Task[None] | None" = None
    failure: ChatError | None = None
    """Why the server could not start."""
    is_leaving: bool = False
    """Whether it will stop soon: it is not ready any more, but still takes requests."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_running: bool = False

    @asynccontextmanager
    async def run(self, *, answers: bool, drain_seconds: float) -> AsyncIterator[None]:
        """Open the database and start; at the end drain, and close what was opened.

        Args:
            answers: Whether turns are taken.
            drain_seconds: What running turns get at the end.

        Raises:
            ChatError: It could not start; `failure` says why too.

        """
        try:
            await asyncio.to_thread(self.services.store.open)
            self._is_running = True
            await self.services.access.start()
            if self.services.access.is_keyless and not self.may_be_keyless:
                raise UnsafeAddress
            await self._start(answers=answers)
            yield
        except ChatError as error:
            self.failure = error
            raise
        finally:
            await self.drain(drain_seconds)
            await self.services.providers.close()
            if not self.services.providers.is_busy:
                await asyncio.to_thread(self.services.store.close)

    async def _start(self, *, answers: bool) -> None:
        """Recover what an earlier process has left, and begin to take turns.

        With `answers` false no turn is taken, and those of an earlier process are left alone.
        """
        self.services.notifications.start()
        if not answers:
            self.services.turns.stop_accepting()
            if not self.services.store.is_exclusive:
                await self.leases.start(_nothing, self._inherit_events)
            return
        await self.leases.start(self.runner.recover, self._inherit)
        self.remote_readers.start(self.runner.take_over)
        self.background.spawn(SESSION_TASKS, self.services.tenants.resume())
        self.retention.start()
        # Whoever serves may wait for it: then the heavy packages are imported.
        self.warming = self.background.spawn("warm-up", self.services.providers.warm_up())

    async def _inherit(self, is_ended_here: bool) -> None:
        """Begin what a dead process has left, other than its turns."""
        self.titles.resume()
        await self.purge.resume()
        await self._inherit_events(is_ended_here)

    async def _inherit_events(self, is_ended_here: bool) -> None:
        if is_ended_here:
            await self.services.notifications.miss()
            await self.remote_readers.tidy()

    def leave(self) -> None:
        """Let balancers and clients go elsewhere: the server stops soon."""
        self.is_leaving = True
        self.services.turns.is_ready = False

    async def drain(self, seconds: float) -> None:
        """Take no more turns, wait at most `seconds` for those that run, and stop everything.

        What is left is done at the next start. A second call only waits for the first.
        """
        services = self.services
        services.turns.stop_accepting()
        async with self._lock:
            if not self._is_running:
                return
            await self.background.cancel("warm-up")
            await asyncio.gather(services.imports.close(seconds), self.runner.close(seconds))
            await self.remote_turns.close()
            await self.remote_readers.close()
            await self.titles.close()
            await self.background.cancel(SESSION_TASKS)
            await services.notifications.close()
            await services.access.close()
            # What cannot be cancelled ends with the process.
            await services.providers.close()
            await self.leases.close(is_released=not services.providers.is_busy)
            self._is_running = False


def create_app(
    settings: Settings | None = None,
    *,
    models: Mapping[str, object] | None = None,
    answers: bool = True,
    page_folder: Path = page.FOLDER,
) -> FastAPI:
    """Build the application. Its lifespan opens the database, and closes what it has opened.

    Args:
        settings: Of the server; by default those of the environment and the file.
        models: Objects that answer, by the names that they have as models: any Runnable, graph,
            agent or function. They run on the loop that the application runs on, come before the
            models of the settings, and take the place of a default model that nobody has chosen.
        answers: False for a server that takes no turns, and leaves those of others alone.
        page_folder: Where the built files of the web page are.

    Raises:
        ModelMisconfigured: A model's name or key cannot be right.

    """
    settings = settings or Settings()
    if not settings.trace_texts and (ignored := tracing.switch_off()):
        logger.warning("tracing_is_off", variables=ignored, needs="CHATKEEP_TRACE_TEXTS=true")
    lifecycle = _build(settings, models or {})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with lifecycle.run(answers=answers, drain_seconds=settings.drain_seconds):
            if answers:
                # FastAPI prepares a route when it is first asked for: no client shall wait for it.
                prepared = asyncio.to_thread(lambda: list(iter_route_contexts(app.routes)))
                lifecycle.background.spawn("warm-up", prepared)
            yield

    app = DocumentedAPI(
        title="Chatkeep",
        version=__version__,
        summary="Conversations with a language model, kept.",
        lifespan=lifespan,
        # Their pages load scripts from another host; /openapi.json is there for any viewer.
        docs_url=None,
        redoc_url=None,
        # A redirect would lose the slash at the end of a session id.
        redirect_slashes=False,
    )
    app.state.lifecycle = lifecycle
    app.state.services = lifecycle.services
    app.state.page = page.Page(page_folder, image_hosts=settings.image_hosts)
    # The routes themselves: in a router that is included, each request is matched three times.
    app.router.routes.extend(route for router in ROUTERS for route in router.routes)
    error_handlers.install(app)
    _add_middleware(app, settings)
    return app


def make_providers(settings: Settings, objects: Mapping[str, object] | None = None) -> Providers:
    """The models on offer, and before them objects by their names. Raises `ModelMisconfigured`."""
    options = ProviderOptions(
        timeout=settings.model_timeout,
        first_token_timeout=settings.first_token_timeout,
        retries=settings.model_retries,
        max_reply_chars=settings.max_reply_chars,
        is_direct=settings.model_client == "direct",
        redactor=Redactor(settings.secrets),
    )
    hidden = (settings.title_model,) if settings.title_model else ()
    is_chosen = "model" in settings.model_fields_set
    names = settings.models_on_offer if is_chosen or not objects else settings.models
    return Providers(names, settings, options, hidden=hidden, objects=objects)


def _build(settings: Settings, objects: Mapping[str, object]) -> Lifecycle:
    """Make the parts of a server. Nothing is opened, and nothing runs."""
    background = BackgroundTasks()
    providers = make_providers(settings, objects)
    store = make_store(
        settings.database,
        readers=settings.reader_threads,
        write_queue=settings.write_queue,
        connections=settings.database_connections,
        listen_url=settings.database_listen_url,
        prepares=settings.database_prepared_statements,
    )
    notifications = _notifications(store, background, settings)
    title_model = split_alias(settings.title_model)[0] or providers.title_model
    title_settings = TitleSettings(title_model, settings.title_timeout)
    leases = LeaseKeeper(store, background, seconds=settings.lease_seconds)
    titles = TitleCalls(store, providers, leases, notifications, background, title_settings)
    registry = TurnRegistry()
    limits = _turn_settings(settings, providers)
    remote_turns = RemoteTurns(store, registry, leases, background, title_wait=limits.title_wait)
    remote_readers = RemoteReaders(store, leases, background)
    finisher = TurnFinisher(store, registry, remote_turns, notifications)
    runner = TurnRunner(
        *(store, providers, leases, registry, remote_turns, remote_readers, finisher),
        *(notifications, background, limits),
    )
    purge = Purge(store, background)
    session_service = SessionService(
        *(store, providers, titles, registry, remote_readers, finisher, purge),
        *(notifications, background),
        max_message_chars=max(settings.max_reply_chars, settings.max_message_chars),
    )
    access = AccessService(
        store,
        background,
        AccessSettings(
            requires_key=settings.requires_key,
            admin_key=settings.admin_key.get_secret_value() if settings.admin_key else None,
            audit_days=settings.audit_days,
        ),
    )
    services = Services(
        store=store,
        access=access,
        tenants=TenantService(store, access, session_service, purge, notifications, background),
        proxies=TrustedProxies(
            [ip_network(proxy) for proxy in settings.trusted_proxies],
            settings.trusted_user_header.lower().encode(),
        ),
        providers=providers,
        notifications=notifications,
        turns=TurnService(
            *(store, providers, titles, registry, remote_turns, remote_readers, runner),
            *(finisher, notifications, background, limits),
        ),
        sessions=session_service,
        imports=ImportService(
            store,
            purge,
            notifications,
            leases,
            max_record_bytes=settings.max_import_record_bytes,
            max_message_chars=max(settings.max_reply_chars, settings.max_message_chars),
        ),
        heartbeat_seconds=settings.heartbeat_seconds,
        reader_timeout=settings.reader_timeout,
        max_body_bytes=settings.max_body_bytes,
        max_chat_bytes=max(settings.max_body_bytes, settings.max_chat_bytes),
        max_file_bytes=settings.max_file_bytes,
    )
    retention = Retention(
        store,
        session_service,
        purge,
        leases,
        background,
        days=settings.retention,
        check_seconds=settings.retention_check_seconds,
    )
    is_open = settings.listen_without_key or is_loopback(settings.host)
    return Lifecycle(
        *(services, registry, runner, remote_turns, remote_readers, leases),
        *(titles, purge, retention, background, is_open),
    )


def _notifications(store: Store, background: BackgroundTasks, settings: Settings) -> Notifications:
    capacity = settings.max_feed_events
    if store.is_exclusive:
        return Notifications(capacity=capacity)
    return SharedNotifications(store, background, capacity=capacity)


async def _nothing() -> None:
    """Recover no turn: for a process that runs none."""


def _turn_settings(settings: Settings, providers: Providers) -> TurnSettings:
    # A prompt that somebody chose holds for every model.
    is_chosen = "system_prompt" in settings.model_fields_set
    prompts = {
        name: prompt
        for name, prompt in providers.system_prompts.items()
        # An agent has its own.
        if not is_chosen or providers.capabilities(name).is_agent
    }
    return TurnSettings(
        system_prompts=SystemPrompts(settings.system_prompt, prompts),
        context_messages=settings.context_messages,
        turn_timeout=settings.turn_timeout,
        title_wait=settings.title_wait,
        max_message_chars=settings.max_message_chars,
        max_queued_turns=settings.max_queued_turns,
        max_running_turns=settings.max_running_turns,
    )


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add what every request passes: the last one added is the first one passed."""
    app.add_middleware(
        Authentication,
        service=app.state.services.access,
        proxies=app.state.services.proxies,
        check_seconds=settings.heartbeat_seconds,
        refuse=problems.respond,
    )
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(
        Guard,
        own_address=settings.host,
        hosts=settings.allowed_hosts,
        # A proxy may know people by their network: a page with any name would be theirs.
        checks_host=lambda: (
            app.state.services.access.is_keyless or bool(settings.trusted_user_header)
        ),
        origins=settings.allowed_origins,
        max_body_bytes=settings.max_body_bytes,
        max_bytes=dict.fromkeys(CONVERSING, max(settings.max_body_bytes, settings.max_chat_bytes)),
        uploads={"/import": settings.max_import_bytes},
        body_seconds=settings.body_timeout,
        max_requests=settings.max_requests,
        refuse=problems.respond,
    )
    lifecycle: Lifecycle = app.state.lifecycle
    app.add_middleware(Responses, is_leaving=lambda: lifecycle.is_leaving)
    app.add_middleware(Mounted)

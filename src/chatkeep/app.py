"""The server put together: settings into parts, routes, middleware, errors into statuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Match

from chatkeep import __version__, telemetry
from chatkeep.api import problems
from chatkeep.api.guards import Guard
from chatkeep.api.problems import Problem
from chatkeep.api.responses import Responses
from chatkeep.api.routes import (
    chat,
    events,
    health,
    models,
    page,
    search,
    sessions,
    transfer,
    turns,
    usage,
)
from chatkeep.api.routes.chat import ChatRequest
from chatkeep.api.routes.sessions import SessionChange
from chatkeep.domain import errors, model
from chatkeep.notifications import Notifications
from chatkeep.providers import ProviderOptions, Providers
from chatkeep.redaction import Redactor
from chatkeep.settings import Settings
from chatkeep.store import Store
from chatkeep.titles.calls import Titling, TitlingOptions
from chatkeep.turns.runner import EngineOptions
from chatkeep.turns.service import Engine

log = telemetry.logger("app")

STATUS: dict[type[errors.ChatError], int] = {
    errors.MalformedRequest: 400,
    errors.MalformedBody: 400,
    errors.ForeignHost: 403,
    errors.ForeignOrigin: 403,
    errors.SessionNotFound: 404,
    errors.MessageNotFound: 404,
    errors.TurnNotFound: 404,
    errors.PageMissing: 404,
    errors.NotAcceptable: 406,
    errors.BodyTooSlow: 408,
    errors.SessionBusy: 409,
    errors.SessionChanged: 412,
    errors.TurnNotStarted: 409,
    errors.TurnCancelled: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InvalidRequest: 422,
    errors.IdempotencyKeyReused: 422,
    errors.QueueFull: 429,
    errors.InternalError: 500,
    errors.TurnInterrupted: 500,
    errors.ModelFailed: 502,
    errors.AnswerUnreadable: 502,
    errors.AnswerWithheld: 502,
    errors.AnswerWithoutText: 502,
    errors.ModelOutOfTokens: 502,
    errors.ModelQuotaExhausted: 502,
    errors.ModelMisconfigured: 502,
    errors.ContextTooLong: 502,
    errors.ModelBusy: 503,
    errors.Overloaded: 503,
    errors.Draining: 503,
    errors.StoreUnavailable: 503,
    errors.ModelTimedOut: 504,
}
"""Which status each error has. Every error is in here."""

METHOD_NOT_ALLOWED = 405

EXPOSED_HEADERS = (
    *("Content-Disposition", "Content-Location", "ETag"),
    *("Idempotent-Replayed", "Link", "Retry-After"),
)
"""What a page elsewhere may read of an answer's headers."""


def create_app(
    settings: Settings, *, answers: bool = True, page_folder: Path = page.FOLDER
) -> FastAPI:
    """Open the database, make the parts, and return the application that owns them.

    Without `answers` it takes no turns, and those that an earlier process left stay as they are.
    Raises `StoreUnavailable` and `ModelMisconfigured`.
    """
    providers = make_providers(settings)
    store = Store(
        settings.database, readers=settings.reader_threads, write_queue=settings.write_queue
    )
    feed = Notifications(capacity=settings.max_feed_events)
    titling = Titling(
        store,
        providers,
        feed,
        TitlingOptions(
            model=settings.title_model or settings.model, timeout=settings.title_timeout
        ),
    )
    engine = Engine(store, providers, titling, feed, _engine_options(settings, providers))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = None
        if answers:
            try:
                await engine.start()
            except errors.ChatError as error:
                app.state.failure = error
                raise
            # Who serves may wait for it: then the heavy packages are there.
            app.state.warming = warming = asyncio.create_task(providers.warm_up())
        else:
            engine.rest()
        try:
            yield
        finally:
            if warming is not None:
                warming.cancel()
            await engine.close(settings.drain_seconds)
            await providers.close()
            await asyncio.to_thread(store.close)

    app = FastAPI(
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
    app.state.engine, app.state.store, app.state.feed = engine, store, feed
    app.state.providers = providers
    # Why it could not start, for whoever runs it.
    app.state.failure = None
    app.state.page = page.Page(page_folder, image_hosts=settings.image_hosts)
    app.state.problem = lambda error: problems.document(error, STATUS[type(error)])
    app.state.heartbeat_seconds = settings.heartbeat_seconds
    app.state.reader_timeout = settings.reader_timeout
    rooms = (chat, turns, sessions, search, transfer, events, usage, models, health, page)
    for room in rooms:
        app.include_router(room.router)
    _document_bodies(app)
    app.add_exception_handler(errors.ChatError, _on_chat_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unknown)
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
        hosts=(settings.host, f"[{settings.host}]", *settings.allowed_hosts),
        origins=settings.allowed_origins,
        max_body_bytes=settings.max_body_bytes,
        uploads={"/import": settings.max_import_bytes},
        body_seconds=settings.body_timeout,
        max_requests=settings.max_requests,
        refuse=respond,
    )
    # Added last, so it comes first.
    app.add_middleware(Responses)
    return app


def make_providers(settings: Settings) -> Providers:
    """The models on offer. Raises `ModelMisconfigured`."""
    options = ProviderOptions(
        timeout=settings.model_timeout,
        first_token_timeout=settings.first_token_timeout,
        retries=settings.model_retries,
        max_reply_chars=settings.max_reply_chars,
        is_direct=settings.model_client == "direct",
        redactor=Redactor(settings.secrets),
    )
    hidden = (settings.title_model,) if settings.title_model else ()
    return Providers(settings.models_on_offer, settings, options, hidden=hidden)


def _engine_options(settings: Settings, providers: Providers) -> EngineOptions:
    # A prompt that somebody chose holds for every model.
    is_chosen = "system_prompt" in settings.model_fields_set
    prompts = {} if is_chosen else providers.system_prompts
    return EngineOptions(
        system_prompts=model.SystemPrompts(settings.system_prompt, prompts),
        context_messages=settings.context_messages,
        turn_timeout=settings.turn_timeout,
        title_wait=settings.title_wait,
        lease_seconds=settings.lease_seconds,
        max_message_chars=settings.max_message_chars,
        max_queued_turns=settings.max_queued_turns,
        max_running_turns=settings.max_running_turns,
        retention=settings.retention,
        retention_seconds=settings.retention_check_seconds,
        max_import_record_bytes=settings.max_import_record_bytes,
        max_reply_chars=settings.max_reply_chars,
    )


def _document_bodies(app: FastAPI) -> None:
    """Add to the OpenAPI document the bodies that `api/bodies.py` reads by itself."""
    schema = app.openapi()
    schemas = schema["components"]["schemas"]
    for body in (ChatRequest, SessionChange, Problem):
        schemas[body.__name__] = body.model_json_schema()
    # The framework's own 422, which it adds to every route with a parameter, is never sent.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in schema["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]


async def _on_chat_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.ChatError):
        raise error
    response = respond(error)
    # What the route had to say beside its answer, it says beside the error too.
    response.headers.update(getattr(request.state, "headers", {}))
    return response


def respond(error: errors.ChatError) -> Response:
    """The response that tells of an error."""
    return problems.respond(error, STATUS[type(error)])


async def _on_invalid_parameter(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    listed = [
        {"parameter": str(found["loc"][1]), "detail": found["msg"]} for found in error.errors()
    ]
    invalid = errors.InvalidRequest(
        f"{listed[0]['parameter']}: {listed[0]['detail']}", errors=listed
    )
    return respond(invalid)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: an unknown path, a wrong method."""
    if not isinstance(error, HTTPException):
        raise error
    words = str(error.detail)
    headers = error.headers
    if error.status_code == METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_allowed(request))}
    body: dict[str, Any] = {"type": f"/problems/{words.lower().replace(' ', '-')}", "title": words}
    body |= {"status": error.status_code, "detail": f"{words}."}
    return problems.response(body, headers)


def _allowed(request: Request) -> list[str]:
    """The methods that the address has, over all of its routes (RFC 9110, 10.2.1)."""
    return [
        method
        for method in ("GET", "HEAD", "POST", "PATCH", "DELETE")
        if any(
            route.matches({**request.scope, "method": "GET" if method == "HEAD" else method})[0]
            is Match.FULL
            for route in request.app.router.routes
        )
    ]


async def _on_unknown(_request: Request, _error: Exception) -> Response:
    return respond(errors.InternalError())

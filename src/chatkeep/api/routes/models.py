"""`GET /models`: the models on offer, and the defaults of sessions."""

from dataclasses import replace

from fastapi import APIRouter
from pydantic import BaseModel, Field

from chatkeep import examples
from chatkeep.api.dependencies import CallerOf, ProvidersOf, TurnsOf
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.model import Scope, SessionDefaults

router = APIRouter(tags=["models"], route_class=StrictRoute)


class Model(BaseModel):
    """A model on offer."""

    id: str = Field(examples=[examples.OPENAI])
    provider: str = Field(examples=["openai"])


class Models(BaseModel):
    """The models on offer, the one that answers where none is asked for, and the defaults."""

    default: str
    models: list[Model]
    defaults: SessionDefaults
    notice: str | None = Field(
        description="What a person should know of the default model, as one line of Markdown."
    )


@router.get("/models", summary="List the models on offer")
async def list_models(caller: CallerOf, providers: ProvidersOf, turns: TurnsOf) -> Models:
    """Tell which models `POST /chat` and a session may name, the default first, and the defaults.

    The `defaults` are what holds where a session has nothing set.
    """
    names = [
        name
        for name in providers.names
        if caller.models is None or name == providers.default or name in caller.models
    ]
    listed = [Model(id=name, provider=providers.provider(name)) for name in names]
    defaults = turns.defaults
    if caller.scope is Scope.USER:
        defaults = replace(defaults, system_prompt=None)
    return Models(
        default=providers.default,
        models=listed,
        defaults=defaults,
        notice=providers.notice,
    )

"""`/v1/models`: the models on offer. Also finds the one that a request names."""

from fastapi import APIRouter
from pydantic import BaseModel

from chatkeep.api.dependencies import CallerOf, ProvidersOf
from chatkeep.domain.errors import ModelNotFound, NotAllowed
from chatkeep.domain.model import Caller, Scope
from chatkeep.providers import Providers

router = APIRouter(tags=["openai"])


class OpenAIModel(BaseModel):
    """A model, as OpenAI lists it."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str


class OpenAIModels(BaseModel):
    """The models on offer, the default first."""

    object: str = "list"
    data: list[OpenAIModel]


def resolve_model(providers: Providers, name: str) -> str:
    """The model on offer that a request means: by its name, or by what is after the colon.

    Raises:
        ModelNotFound: There is none, or more than one.

    """
    if name in providers.names:
        return name
    named = [known for known in providers.names if known.partition(":")[2] == name]
    if len(named) != 1:
        detail = f"The model {name[:100]!r} does not exist or is not on offer here."
        raise ModelNotFound(detail, errors=[{"pointer": "#/model", "detail": detail}])
    return named[0]


def chosen_model(caller: Caller, model: str, default: str) -> str | None:
    """The model that a turn is to have; `None` for that of its session, or else the default.

    A request must name one: a user who may choose none names the default.

    Args:
        caller: Who sends the request.
        model: The one that it names, as it is called here.
        default: The server's.

    Raises:
        NotAllowed: The caller may not use it.

    """
    if caller.models is None or model in caller.models:
        return model
    if caller.scope is Scope.USER and model == default:
        return None
    raise NotAllowed("The key does not allow that model.", needs=Scope.CHAT, pointer="#/model")


def _visible(providers: Providers, caller: Caller) -> list[OpenAIModel]:
    return [
        OpenAIModel(id=name, owned_by=providers.provider(name))
        for name in providers.names
        if caller.models is None or name == providers.default or name in caller.models
    ]


@router.get("/v1/models", summary="List the models, as OpenAI does", response_model=OpenAIModels)
async def list_models(caller: CallerOf, providers: ProvidersOf) -> OpenAIModels:
    """Tell which models a request may name."""
    return OpenAIModels(data=_visible(providers, caller))


@router.get(
    "/v1/models/{model:path}", summary="Read a model, as OpenAI does", response_model=OpenAIModel
)
async def read_model(caller: CallerOf, providers: ProvidersOf, model: str) -> OpenAIModel:
    """Tell whether a model is on offer."""
    name = resolve_model(providers, model)
    listed = next((known for known in _visible(providers, caller) if known.id == name), None)
    if listed is None:
        raise ModelNotFound
    return listed

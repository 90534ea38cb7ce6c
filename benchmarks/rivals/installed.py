"""Agno's AgentOS, a server that one installs from PyPI, with its sessions in SQLite.

Nothing of its API is ours: this file only says which model and which database, as Agno's own quick
start does. A turn is one request, with a form as its body (`stream` is true if it is left out):

    POST /agents/chat/runs    message=…&session_id=…&stream=false

The answer's `content` is the reply; a stream is server-sent events, of which those named
`RunContent` carry pieces of it in `content`. The history is `GET /sessions/{id}/runs?type=agent`:
every turn of the session with all of its messages, oldest first; it has no pages.

Choices: the asynchronous database with its defaults, the last five messages as context, telemetry
off (it would call its maker's host).
"""

from agno.agent import Agent
from agno.db.sqlite import AsyncSqliteDb
from agno.models.openai.like import OpenAILike
from agno.os import AgentOS

from benchmarks.rivals import common

settings = common.settings()
agent = Agent(
    id="chat",
    name="Chat",
    model=OpenAILike(id=settings.model, base_url=settings.base_url, api_key=settings.api_key),
    db=AsyncSqliteDb(db_file=str(settings.folder / "installed.db")),
    instructions=common.SYSTEM,
    add_history_to_context=True,
    num_history_messages=common.PRIOR,
    telemetry=False,
)
app = AgentOS(agents=[agent], telemetry=False).get_app()


if __name__ == "__main__":
    common.serve(app, settings.port)

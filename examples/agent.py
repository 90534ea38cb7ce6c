"""An agent with two tools, one of which waits without blocking anybody.

Run it in this folder:

    pip install langchain
    OPENAI_API_KEY=sk-... chatkeep serve --model support=python:agent:agent

Ask it "Where is order 1001, and when does it arrive?".
"""

import asyncio
import os
from datetime import date, timedelta

from langchain.agents import create_agent
from langchain.tools import tool
from langchain_openai import ChatOpenAI

ORDERS = {"1001": "packed", "1002": "on its way", "1003": "delivered"}
DAYS = {"packed": 3, "on its way": 1, "delivered": 0}


@tool
def find_order(number: str) -> str:
    """Look up the state of an order by its number, such as 1001."""
    return ORDERS.get(number, f"There is no order {number}.")


@tool
async def delivery_date(state: str) -> str:
    """Estimate on which day an order in this state arrives."""
    await asyncio.sleep(0.1)  # as a call to a carrier's server would
    if state not in DAYS:
        return f"{state!r} is not a state. The states are: {', '.join(DAYS)}."
    return (date.today() + timedelta(days=DAYS[state])).isoformat()


agent = create_agent(
    ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-6-luna"), stream_usage=True),
    tools=[find_order, delivery_date],
    system_prompt="You answer customers of a shoe shop. Look orders up; never guess.",
)

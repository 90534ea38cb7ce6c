"""Parameters that several routes have, with their limits and their words in the documentation."""

from typing import Annotated

from fastapi import Header, Query

AfterEvent = Annotated[
    str | None, Query(max_length=100, description="The `id` of the last event that you have.")
]
LastEventId = Annotated[
    str | None, Header(max_length=100, description="The same; wins over `after`.")
]

"""Requests that come again without saying so.

Some clients repeat a request with no mark at all when a connection breaks. One that is equal to a
request whose client went away before it had its answer is taken for its repetition, for a minute.
"""

import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass

from chatkeep.domain.errors import TurnNotFound
from chatkeep.domain.model import Caller
from chatkeep.turns.service import SubmittedTurn, TurnService

REPEAT_SECONDS = 60
MAX_LOST = 1_000


@dataclass(frozen=True, slots=True)
class _Lost:
    turn_id: str
    until: float


class LostAnswers:
    """The turns whose requesters did not get their answer, in this process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lost: OrderedDict[tuple[str, bytes], _Lost] = OrderedDict()

    def add(self, tenant: str, digest: bytes, turn_id: str) -> None:
        """Remember that the client of a request has gone.

        Args:
            tenant: Whose request it was.
            digest: Of its body.
            turn_id: The turn that it made.

        """
        self._lost[tenant, digest] = _Lost(turn_id, time.monotonic() + REPEAT_SECONDS)
        self._lost.move_to_end((tenant, digest))
        if len(self._lost) > MAX_LOST:
            self._lost.popitem(last=False)

    def take(self, tenant: str, digest: bytes) -> str | None:
        """The turn that an equal request has made; it is forgotten."""
        lost = self._lost.pop((tenant, digest), None)
        return lost.turn_id if lost is not None and lost.until > time.monotonic() else None

    async def join(self, turns: TurnService, caller: Caller, digest: bytes) -> SubmittedTurn | None:
        """The turn of an equal request whose client went away, unless that turn has failed.

        Args:
            turns: Where turns are.
            caller: Who sends the request.
            digest: Of its body.

        """
        turn_id = self.take(caller.tenant, digest)
        if turn_id is None:
            return None
        with contextlib.suppress(TurnNotFound):
            stream = await turns.find_stream(caller, turn_id)
            if not stream.has_failed:
                return SubmittedTurn(stream, is_replay=True)
        return None

"""Signals without content, by which processes at one PostgreSQL wake each other: `LISTEN`.

Whoever waits for one also reads the database after a while, and soon where signals may be missed:
one that is lost costs time, and nothing else. Poolers may accept `LISTEN` and deliver nothing: so a
process also signals itself, and misses signals when that does not arrive.
"""

import asyncio
import contextlib
import time
from enum import StrEnum
from typing import Any

from chatkeep import telemetry

logger = telemetry.logger("signals")

ARRIVAL_SECONDS = 2
"""How long a signal to this process itself may take."""

UNRELIABLE_SECONDS = 0.1
"""How long a subscriber waits at most while signals may be missed."""

RECONNECT_SECONDS = 1


class Channel(StrEnum):
    """What a signal is about: the turns of one process, or the events of all."""

    TURNS = "chatkeep_"
    EVENTS = "chatkeep_events"

    def name_for(self, owner: str) -> str:
        """The channel's name in PostgreSQL for the process with this lease."""
        return self.value + owner if self is Channel.TURNS else self.value


class Subscription:
    """Waits for signals of one channel; each part of the process that waits has its own."""

    def __init__(self, signals: "Signals") -> None:
        """Belong to a process's signals."""
        self._signals = signals
        self._arrived = asyncio.Event()

    def wake(self) -> None:
        """Signal this subscriber alone."""
        self._arrived.set()

    async def wait(self, seconds: float, *, at_least: float) -> None:
        """Wait for a signal, or `seconds` at most, less while signals may be missed.

        Args:
            seconds: How long.
            at_least: Pause if one has arrived already, so that many are handled together.

        """
        if self._arrived.is_set():
            await asyncio.sleep(at_least)
        else:
            limit = min(seconds, UNRELIABLE_SECONDS) if self._signals.may_miss else seconds
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await self._arrived.wait()
        self._arrived.clear()


class Signals:
    """Receives the signals for this process, on a connection of its own."""

    def __init__(self, connection: "dict[str, Any] | None") -> None:
        """Take the parameters of the connection; `None` if no other process can signal."""
        self._connection = connection
        self._subscriptions: dict[Channel, list[Subscription]] = {each: [] for each in Channel}
        self._task: asyncio.Task[None] | None = None
        self._is_listening = False
        # Since when a signal to this process itself has not arrived.
        self._expected_since: float | None = None

    @property
    def may_miss(self) -> bool:
        """Whether signals may not arrive."""
        if self._connection is None:
            return False
        late = self._expected_since
        return not self._is_listening or (
            late is not None and time.monotonic() - late > ARRIVAL_SECONDS
        )

    def subscribe(self, channel: Channel) -> Subscription:
        """Wait for the signals of a channel from now on."""
        subscription = Subscription(self)
        self._subscriptions[channel].append(subscription)
        return subscription

    def open(self, owner: str) -> None:
        """Listen to the channels of the process with this lease, and to no others any more."""
        if self._connection is not None:
            self.close()
            self._task = asyncio.create_task(self._listen(self._connection, owner), name="signals")

    def expect(self) -> None:
        """Note that this process is about to signal itself."""
        if self._expected_since is None:
            self._expected_since = time.monotonic()

    def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._is_listening = False

    async def _listen(self, parameters: dict[str, Any], owner: str) -> None:
        channels = {channel.name_for(owner): channel for channel in Channel}
        while True:
            try:
                await self._receive(parameters, channels)
            except Exception as error:  # noqa: BLE001  (whatever it is: it is tried again)
                logger.warning("signals_lost", error=type(error).__name__)
            self._is_listening = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _receive(self, parameters: dict[str, Any], channels: dict[str, Channel]) -> None:
        # An extra: only who uses PostgreSQL has it.
        import psycopg

        connection = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
        async with connection:
            for name in channels:
                await connection.execute(f'LISTEN "{name}"'.encode())
            self._is_listening, self._expected_since = True, None
            # Earlier signals were missed.
            for channel in Channel:
                self._wake(channel)
            async for signal in connection.notifies():
                self._expected_since = None
                self._wake(channels[signal.channel])

    def _wake(self, channel: Channel) -> None:
        for subscription in self._subscriptions[channel]:
            subscription.wake()

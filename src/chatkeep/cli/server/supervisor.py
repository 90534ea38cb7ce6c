"""`chatkeep serve --workers`: processes that serve on one socket, and who starts and replaces them.

The socket stays open while workers come and go, so that no connection is refused or reset. SIGHUP
replaces all of them, one after the other: each new one is ready before an old one stops.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from select import select

from chatkeep import telemetry
from chatkeep.cli.configuration import fail
from chatkeep.cli.output import print_note
from chatkeep.cli.server.foreground import RESPONSE_SECONDS, address_of, bind
from chatkeep.settings import PREFIX, Settings

logger = telemetry.logger("workers")

START_SECONDS = 120
"""How long a worker may take until it is ready: a migration may be waited for."""

RESTART_SECONDS = 1
"""Pause before a worker that died is started again; it doubles up to `LONGEST_PAUSE_SECONDS`."""

LONGEST_PAUSE_SECONDS = 30

POLL_SECONDS = 0.2
"""How often the workers are looked after, if no signal comes."""


@dataclass(slots=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    ready: int
    is_ready: bool = False

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


class Supervisor:
    """Starts workers, starts those again that die, and stops all of them together."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is started yet."""
        self._settings = settings
        self._listener = bind(settings)
        # The workers read the other end, and stop when this process is gone.
        self._alive, self._held = os.pipe()
        self._workers: list[_Worker] = []
        self._signals: list[int] = []
        self._deaths, self._restart_at = 0, 0.0

    def run(self) -> None:
        """Serve until a signal ends the process. Exits with an error if no worker can start."""
        for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(handled, lambda number, _frame: self._signals.append(number))
        self._workers = [self._start() for _ in range(self._settings.workers)]
        # Each is waited for, also after one that failed.
        are_ready = [self._wait(worker) for worker in self._workers]
        if not all(are_ready) and not self._signals:
            self._stop()
            fail("A worker cannot start.")
        if all(are_ready):
            print_note(
                f"Chatkeep answers on {address_of(self._listener)} with {self._settings.model}, "
                f"in {self._settings.workers} processes."
            )
        for number in self._received():
            if number == signal.SIGHUP:
                self._replace()
                continue
            self._stop()
            return

    def _received(self) -> Iterator[int]:
        """Yield signals as they come, and look after the workers meanwhile."""
        while True:
            if self._signals:
                yield self._signals.pop(0)
            else:
                self._restart()
                time.sleep(POLL_SECONDS)

    def _start(self) -> _Worker:
        settings = self._settings
        ready, report = os.pipe()
        descriptors = (self._listener.fileno(), report, self._alive)
        # What the command line has set; the rest is in the environment and the file already.
        chosen = {"HOST": settings.host, "PORT": str(settings.port), "MODEL": settings.model}
        process = subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, "-m", "chatkeep.cli.server.worker", *map(str, descriptors)],
            pass_fds=descriptors,
            env={**os.environ, **{PREFIX + name: value for name, value in chosen.items()}},
            # A signal from the terminal is for the supervisor.
            start_new_session=True,
        )
        os.close(report)
        return _Worker(process, ready)

    def _wait(self, worker: _Worker) -> bool:
        """Wait until a worker serves. False if it ends, takes too long, or a stop is requested."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and signal.SIGTERM not in self._signals:
            if signal.SIGINT in self._signals:
                break
            readable, _, _ = select([worker.ready], [], [], POLL_SECONDS)
            if readable:
                worker.is_ready = os.read(worker.ready, 1) == b"1"
                break
        os.close(worker.ready)
        return worker.is_ready

    def _replace(self) -> None:
        """Replace the workers one by one by new ones, of the program as it is installed now."""
        for old in list(self._workers):
            new = self._start()
            if not self._wait(new):
                logger.error("worker_not_replaced", pid=new.process.pid)
                new.process.kill()
                new.process.wait()
                return
            self._workers.remove(old)
            self._workers.append(new)
            old.process.terminate()
            self._end([old])
            logger.info("worker_replaced", old=old.process.pid, new=new.process.pid)

    def _restart(self) -> None:
        """Start a worker for each that has died, with longer and longer pauses."""
        dead = [worker for worker in self._workers if not worker.is_running]
        if not dead or time.monotonic() < self._restart_at:
            return
        for worker in dead:
            logger.error("worker_died", pid=worker.process.pid, code=worker.process.returncode)
            self._workers.remove(worker)
            new = self._start()
            self._workers.append(new)
            self._deaths = 0 if self._wait(new) else self._deaths + 1
        pause = min(RESTART_SECONDS * 2**self._deaths, LONGEST_PAUSE_SECONDS)
        self._restart_at = time.monotonic() + pause

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        self._end(self._workers)

    def _end(self, workers: list[_Worker]) -> None:
        """Wait until these workers have ended; kill them if that takes too long.

        They are killed at once if meanwhile a signal comes that ends this process.
        """
        settings = self._settings
        seconds = settings.leaving_seconds + settings.drain_seconds + 2 * RESPONSE_SECONDS
        deadline = time.monotonic() + seconds
        while any(worker.is_running for worker in workers):
            is_urgent = {signal.SIGTERM, signal.SIGINT} & set(self._signals)
            if is_urgent or time.monotonic() > deadline:
                for worker in workers:
                    worker.process.kill()
            time.sleep(POLL_SECONDS)

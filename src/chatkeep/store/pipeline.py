"""Prepared statements on libpq itself, whose pipeline mode sends several and waits once.

psycopg has such a mode too. It waits for BEGIN by itself, looks at the socket after each statement,
and makes a cursor for each, which costs a turn more than its statements do. So its parts are used
here: `psycopg.pq`, which is libpq, and `psycopg.adapt` for the types of rows.

Source of the rules: PostgreSQL's documentation, 34.5 "Pipeline Mode".
"""

import functools
import select
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer

Prepared = set[str]
"""The statements that a connection has prepared, as their SQL."""

MAX_UNANSWERED = 100
"""Statements that are sent before their answers are read."""


class Sent:
    """A statement that was sent; its rows are read once."""

    __slots__ = ("_pipeline", "result")

    def __init__(self, pipeline: "Pipeline") -> None:
        """Belong to a pipeline, which is where the answer comes from."""
        self._pipeline = pipeline
        self.result: pq.abc.PGresult | None = None

    def fetchone(self) -> Sequence[object] | None:
        """The first row; waits for the answer. Raises `psycopg.Error`."""
        rows = self._pipeline.rows(self, 1)
        return rows[0] if rows else None

    def fetchall(self) -> list[tuple[object, ...]]:
        """Every row; waits for the answer. Raises `psycopg.Error`."""
        return self._pipeline.rows(self, None)


class Pipeline:
    """The prepared statements of one transaction.

    It takes the connection at the first of them and has it until `leave`; after an error only that
    works.
    """

    def __init__(
        self, driver: psycopg.Connection[Any], prepared: Prepared | None, begin: str, *, waits: bool
    ) -> None:
        """Describe a pipeline; nothing is sent yet.

        Args:
            driver: The connection.
            prepared: What it has prepared; `None` if it can keep nothing, as behind some poolers.
            begin: The statement that begins the transaction, unless the connection is in one.
            waits: Whether each statement is answered before the next, so that an error is that of
                the statement which was sent last.

        """
        self._pgconn = driver.pgconn
        self._prepared = prepared
        self._begin = begin
        self._waits = waits
        self._types = Transformer(driver)
        self._socket = select.poll()
        self._unanswered: deque[Sent | str] = deque()

    def send(self, sql: str, values: Sequence[object]) -> Sent:
        """Send a statement with the values of `$1`, `$2`, …; prepare it the first time.

        Raises:
            psycopg.Error: A text has U+0000, which PostgreSQL cannot store; or, where it is waited
                for, the statement failed.

        """
        params = list(map(_dumped, values))
        formats = [int(type(value) is bytes) for value in values]
        self._enter()
        if self._prepared is None:
            sent = self._query(sql, params, formats)
        else:
            sent = self._execute(sql, self._prepared, params, formats)
        if self._waits or len(self._unanswered) >= MAX_UNANSWERED:
            self._pgconn.send_flush_request()
            self._receive()
        return sent

    def rows(self, sent: Sent, limit: int | None) -> list[tuple[object, ...]]:
        """The rows of a statement, at most so many of them. Raises `psycopg.Error`."""
        if sent.result is None:
            self._pgconn.send_flush_request()
            self._receive()
        result = sent.result
        if result is None:
            raise psycopg.InternalError("a statement before this one has failed")
        self._types.set_pgresult(result)
        count = result.ntuples if limit is None else min(limit, result.ntuples)
        return self._types.load_rows(0, count, tuple)

    def commit(self) -> None:
        """Commit, and wait for all answers. Raises `psycopg.Error`."""
        if self._is_entered:
            self._query("COMMIT")
            self.leave()

    def leave(self) -> None:
        """Wait for all answers, and return the connection, in its transaction, to the driver.

        Raises:
            psycopg.Error: A statement failed, and with it what was sent after it. The connection is
                the driver's all the same, unless it is lost.

        """
        if not self._is_entered:
            return
        self._pgconn.pipeline_sync()
        self._unanswered.append(Sent(self))
        try:
            self._receive()
        finally:
            if self._is_entered:
                self._pgconn.exit_pipeline_mode()

    @property
    def _is_entered(self) -> bool:
        is_lost = self._pgconn.status == pq.ConnStatus.BAD
        return not is_lost and self._pgconn.pipeline_status != pq.PipelineStatus.OFF

    def _enter(self) -> None:
        if not self._is_entered:
            self._pgconn.enter_pipeline_mode()
            if self._pgconn.transaction_status == pq.TransactionStatus.IDLE:
                self._query(self._begin)

    def _query(
        self, sql: str, params: list[bytes | None] | None = None, formats: list[int] | None = None
    ) -> Sent:
        self._pgconn.send_query_params(sql.encode(), params, param_formats=formats)
        return self._expect()

    def _execute(
        self, sql: str, prepared: Prepared, params: list[bytes | None], formats: list[int]
    ) -> Sent:
        name = _name(sql)
        if sql not in prepared:
            self._pgconn.send_prepare(name, sql.encode())
            self._unanswered.append(sql)
            prepared.add(sql)
        self._pgconn.send_query_prepared(name, params, param_formats=formats)
        return self._expect()

    def _expect(self) -> Sent:
        sent = Sent(self)
        self._unanswered.append(sent)
        return sent

    def _receive(self) -> None:
        """Read every answer that is due, and raise the first error among them."""
        error: psycopg.Error | None = None
        while self._unanswered:
            result = self._wait_for_result()
            if result is None:
                raise error or psycopg.OperationalError("the connection is lost")
            entry = self._unanswered.popleft()
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                continue
            # Every other answer has an end.
            self._wait_for_result()
            if result.status in _GOOD:
                if isinstance(entry, Sent):
                    entry.result = result
                continue
            if isinstance(entry, str) and self._prepared is not None:
                self._prepared.discard(entry)
            error = error or self._error(result)
        if error is not None:
            raise error

    def _wait_for_result(self) -> pq.abc.PGresult | None:
        """The next result, or `None` at the end of an answer."""
        connection = self._pgconn
        is_sent = not connection.flush()
        while connection.is_busy() or not is_sent:
            wanted = select.POLLIN if is_sent else select.POLLIN | select.POLLOUT
            self._socket.register(connection.socket, wanted)
            self._socket.poll()
            connection.consume_input()
            is_sent = not connection.flush()
        return connection.get_result()

    def _error(self, result: pq.abc.PGresult) -> psycopg.Error:
        if result.status == pq.ExecStatus.PIPELINE_ABORTED:
            return psycopg.InternalError("a statement before this one has failed")
        if self._pgconn.status == pq.ConnStatus.BAD and not _state(result):
            return psycopg.OperationalError(result.get_error_message())
        return psycopg.errors.error_from_result(result)


_GOOD = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}


def _state(result: pq.abc.PGresult) -> bytes | None:
    return result.error_field(pq.DiagnosticField.SQLSTATE)


@functools.cache
def _name(sql: str) -> bytes:
    """The name of a prepared statement, which is the same on every connection."""
    return b"chatkeep_" + blake2b(sql.encode(), digest_size=8).hexdigest().encode()


def _dumped(value: object) -> bytes | None:
    """A value as PostgreSQL reads it: bytes as they are, anything else as text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value
    dumped = str(value).encode()
    if b"\0" in dumped:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return dumped

"""A stream of bytes is read by lines or as a file is, whatever chunks it arrives in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from chatkeep.domain.errors import Draining, MalformedBody, TooLarge
from chatkeep.transfer.byte_reader import ByteReader
from chatkeep.transfer.json_items import RecordLimits

MAX_BYTES = 100

Read = Callable[[ByteReader], Coroutine[Any, Any, Any]]


def read(chunks: list[bytes], method: Read, *, error: Exception | None = None) -> Any:
    """What `method` returns for a stream of these chunks, which ends, or fails with `error`."""

    async def stream() -> AsyncIterator[bytes | None]:
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error
        yield None

    async def run() -> Any:
        async with ByteReader(stream(), RecordLimits(MAX_BYTES)) as reader:
            return await asyncio.wait_for(method(reader), 10)

    return asyncio.run(run())


async def all_lines(reader: ByteReader) -> list[bytes]:
    lines: list[bytes] = []
    while some := await reader.read_lines(2, 1_000):
        assert len(some) <= 2
        lines += some
    return lines


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_the_same_wherever_the_stream_is_cut(size: int) -> None:
    text = b"one\n\ntwo\r\nthree"
    chunks = [text[start : start + size] for start in range(0, len(text), size)]

    assert read(chunks, all_lines) == [b"one", b"", b"two\r", b"three"]
    assert read([*chunks, b"\n"], all_lines) == [b"one", b"", b"two\r", b"three"]


def test_an_empty_chunk_is_not_the_end() -> None:
    assert read([b"a", b"", b"", b"b\nc"], all_lines) == [b"ab", b"c"]
    assert read([b"", b""], all_lines) == []
    assert read([b"", b"", b"ab"], lambda reader: reader.read()) == b"ab"


def test_no_further_line_is_added_to_as_many_bytes_as_were_wanted() -> None:
    chunks = [b"12345\n12345\n12345\n"]

    assert read(chunks, lambda reader: reader.read_lines(10, 6)) == [b"12345"] * 2
    assert read(chunks, lambda reader: reader.read_lines(10, 5)) == [b"12345"]


def test_a_line_has_a_limit_that_counts_before_its_end_arrives() -> None:
    line = b"x" * MAX_BYTES
    assert read([line, b"\n"], lambda reader: reader.read_line()) == line

    # More chunks than are received ahead.
    chunks, error = [line, *[b"x"] * 10], AssertionError("it reads on")
    with pytest.raises(TooLarge, match="larger than 100 bytes"):
        read(chunks, lambda reader: reader.read_line(), error=error)


def test_white_space_and_a_byte_order_mark_before_the_content_are_skipped() -> None:
    async def peek_and_read(reader: ByteReader) -> tuple[bytes, bytes]:
        return await reader.peek(3), await reader.read()

    assert read([b"\xef\xbb\xbf \n", b"\t", b"ab", b"cd"], peek_and_read) == (b"abc", b"abcd")
    assert read([b" \n"], peek_and_read) == (b"", b"")


def test_a_file_is_read_in_pieces_of_the_size_that_is_wanted() -> None:
    async def pieces(reader: ByteReader) -> list[bytes]:
        return [await reader.read(4), await reader.read(4), await reader.read(4)]

    assert read([b"abcdef"], pieces) == [b"abcd", b"ef", b""]


def test_an_error_of_the_stream_is_raised_where_it_is_read() -> None:
    error = MalformedBody("The body ended too early.")

    with pytest.raises(MalformedBody, match="too early"):
        read([b"half a line"], lambda reader: reader.read_line(), error=error)


def test_a_stopped_reader_raises_its_first_error_also_where_it_waits() -> None:
    async def never() -> AsyncIterator[bytes | None]:
        await asyncio.Event().wait()
        yield None

    async def run() -> None:
        async with ByteReader(never(), RecordLimits(MAX_BYTES)) as reader:
            waiting = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            reader.stop(Draining("first"))
            reader.stop(Draining("second"))
            for call in (waiting, reader.read(), reader.read_lines(1, 1)):
                with pytest.raises(Draining, match="first"):
                    await asyncio.wait_for(call, 10)
            with pytest.raises(Draining, match="first"):
                reader.check()

    asyncio.run(run())


def test_a_stream_is_received_ahead_and_no_further() -> None:
    received = 0

    async def endless() -> AsyncIterator[bytes | None]:
        nonlocal received
        while True:
            received += 1
            yield b"x"

    async def run() -> None:
        async with ByteReader(endless(), RecordLimits(MAX_BYTES)) as reader:
            # More rounds of the event loop than any number of chunks needs.
            for _ in range(100):
                await asyncio.sleep(0)
            # The fifth waits for a free slot of the queue.
            assert received == 5
            await reader.read()

    asyncio.run(run())

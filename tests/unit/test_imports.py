"""What an import service takes at the same time, and what it raises instead."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatkeep.domain.errors import Draining, InvalidRequest, Overloaded
from chatkeep.domain.model import Caller
from chatkeep.transfer.imports import ImportService
from chatkeep.transfer.session_importer import ImportReport


class FakePurge:
    """Has nothing to remove."""

    async def purge_rows(self) -> None:
        pass

    async def run(self) -> bool:
        return True


class FakeStore:
    """Writes nothing down, not even that somebody imports."""

    async def write(self, _work: object, **_params: object) -> None:
        pass


class Upload:
    """A file whose content arrives when `content` is set."""

    def __init__(self, content: bytes | None = None) -> None:
        self.is_read = asyncio.Event()
        self.content: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if content is not None:
            self.content.set_result(content)

    async def chunks(self) -> AsyncIterator[bytes | None]:
        self.is_read.set()
        yield await self.content
        yield None


def service() -> ImportService:
    """An import service that stores no session."""
    unused: Any = None
    store: Any = FakeStore()
    purge: Any = FakePurge()
    leases: Any = type("Leases", (), {"owner": "me"})()
    return ImportService(
        store, purge, unused, leases, max_record_bytes=1_000, max_message_chars=1_000
    )


async def start(imports: ImportService, upload: Upload) -> "asyncio.Task[ImportReport]":
    """Run an import until it waits for the file's content."""
    task = asyncio.create_task(imports.run(Caller(), upload.chunks()))
    reading = asyncio.create_task(upload.is_read.wait())
    await asyncio.wait((task, reading), return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), f"it has ended early: {task.exception()!r}"
    return task


def test_four_imports_run_at_once_and_a_fifth_is_refused() -> None:
    async def run() -> None:
        imports = service()
        uploads = [Upload() for _ in range(4)]
        tasks = [await start(imports, upload) for upload in uploads]

        with pytest.raises(Overloaded, match="still running") as raised:
            await imports.run(Caller(), Upload(b"[]").chunks())
        assert raised.value.retry_after == 5

        uploads[0].content.set_result(b"[]")
        assert await tasks[0] == ImportReport()
        fifth = Upload()
        tasks.append(await start(imports, fifth))
        for upload in (*uploads[1:], fifth):
            upload.content.set_result(b"[]")
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_an_import_that_failed_no_longer_counts() -> None:
    async def run() -> None:
        imports = service()
        for _ in range(5):
            with pytest.raises(InvalidRequest, match="Not a conversation export"):
                await imports.run(Caller(), Upload(b"no JSON").chunks())

    asyncio.run(run())


def test_closing_stops_what_runs_and_refuses_what_follows() -> None:
    async def run() -> None:
        imports = service()
        running = await start(imports, Upload())

        await imports.close(10)

        assert running.done(), "close waits for the imports that it has stopped"
        with pytest.raises(Draining, match="stopped the import"):
            running.result()
        with pytest.raises(Draining):
            await imports.run(Caller(), Upload(b"[]").chunks())

    asyncio.run(run())


@pytest.mark.parametrize("content", [b"", b" \n", b"text", b'"[]"', b"{", b"[", b"[x"])
def test_a_file_that_is_no_export_is_refused(content: bytes) -> None:
    async def run() -> None:
        with pytest.raises(InvalidRequest, match="Not a conversation export"):
            await service().run(Caller(), Upload(content).chunks())

    asyncio.run(run())

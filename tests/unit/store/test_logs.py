"""Logs: whatever is repeated or lost on the way, what is stored is in order and bounded."""

from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.domain.log import LogPiece, LogStream
from scheduler.store import Store
from scheduler.store import logs as logs_module
from scheduler.store.errors import UnknownAttemptError
from scheduler.store.logs import LogProgress
from tests.fakes.jobs import a_spec, assign, opened

OUT, ERR = LogStream.STDOUT, LogStream.STDERR


async def all_pieces(store: Store, attempt_id: str) -> list[LogPiece]:
    found: list[LogPiece] = []
    while more := await store.logs.read(attempt_id, found[-1].id if found else 0, limit=3):
        found += more
    return found


async def test_repeats_overlaps_and_gaps(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt = f"{job.id}-1"
        append = store.logs.append
        assert await append(attempt, 0, OUT, 0, b"hello ") == 6
        assert await append(attempt, 0, OUT, 0, b"hello ") == 6  # a repeat
        assert await append(attempt, 0, OUT, 3, b"lo world") == 11  # an overlap
        assert await append(attempt, 0, OUT, 20, b"too far") == 11  # a gap
        assert await append(attempt, 0, ERR, 0, b"oops", end=True) == 4
        assert await append(attempt, 0, OUT, 20, b"", end=True) == 11  # an end after a gap
        assert await store.logs.progress(attempt) == LogProgress(2, 1)
        assert await append(attempt, 0, OUT, 11, b"", end=True) == 11
        assert await append(attempt, 0, OUT, 0, b"hello ") == 11
        assert await store.logs.progress(attempt) == LogProgress(2, 2)
        pieces = await all_pieces(store, attempt)
        assert [(p.stream, p.offset, p.data) for p in pieces] == [
            (OUT, 0, b"hello "),
            (OUT, 6, b"world"),
            (ERR, 0, b"oops"),
        ]


@pytest.mark.parametrize(("attempt", "rank"), [("nobody-1", 0), (None, 1)])
async def test_bytes_of_nobody_are_refused(
    database_url: str, attempt: str | None, rank: int
) -> None:
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        with pytest.raises(UnknownAttemptError):
            await store.logs.append(attempt or f"{job.id}-1", rank, OUT, 0, b"x")


async def test_of_a_flood_the_beginning_and_the_end_are_kept(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "ATTEMPT_MOST_BYTES", 64 * 1024)  # 32 KiB for each output
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt = f"{job.id}-1"
        flood = b"".join(f"line {number:06d}\n".encode() for number in range(100_000))
        at = 0
        while at < len(flood):
            at = await store.logs.append(attempt, 0, OUT, at, flood[at : at + 10_000])
        pieces = await all_pieces(store, attempt)
        assert all(flood[p.offset : p.offset + len(p.data)] == p.data for p in pieces)
        kept = sum(len(p.data) for p in pieces)
        assert 30_000 <= kept <= 40_000
        assert pieces[0].offset == 0
        assert pieces[-1].offset + len(pieces[-1].data) == len(flood)
        ends = [p.offset + len(p.data) for p in pieces]
        gaps = [p.offset - end for end, p in zip(ends, pieces[1:], strict=False) if p.offset != end]
        assert len(gaps) == 1
        assert gaps[0] + kept == len(flood)


sends = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from([OUT, ERR]), st.integers(0, 60), st.integers(0, 30)
    ),
    max_size=30,
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=sends)
async def test_whatever_is_sent_what_is_stored_is_a_prefix(
    database_url: str, sent: list[tuple[int, LogStream, int, int]]
) -> None:
    content = bytes(range(100))
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0], nodes=("a", "b"))
        expected: dict[tuple[int, LogStream], int] = defaultdict(int)
        for rank, stream, offset, size in sent:
            if offset <= expected[rank, stream]:
                expected[rank, stream] = max(expected[rank, stream], offset + size)
            data = content[offset : offset + size]
            answered = await store.logs.append(f"{job.id}-1", rank, stream, offset, data)
            assert answered == expected[rank, stream]
        stored: dict[tuple[int, LogStream], bytes] = defaultdict(bytes)
        for piece in await all_pieces(store, f"{job.id}-1"):
            assert piece.offset == len(stored[piece.rank, piece.stream])
            stored[piece.rank, piece.stream] += piece.data
        assert all(stored[key] == content[:size] for key, size in expected.items())


async def test_records_are_apart_from_what_people_read(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt = f"{job.id}-1"
        await store.logs.append(attempt, 0, OUT, 0, b"hello")
        await store.logs.append(attempt, 0, LogStream.TASKS, 0, b"S 0 1 1.000\n", end=True)
        assert [piece.stream for piece in await store.logs.read(attempt)] == [OUT]
        records = await store.logs.read(attempt, streams=[LogStream.TASKS])
        assert [piece.data for piece in records] == [b"S 0 1 1.000\n"]
        assert await store.logs.progress(attempt) == LogProgress(1, 0)


async def test_records_have_room_where_outputs_are_cut(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "ATTEMPT_MOST_BYTES", 2 * logs_module.STREAM_LEAST_BYTES)
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt, text = f"{job.id}-1", b"0123456789abcde\n" * 4096
        for stream in (OUT, LogStream.TASKS):
            await store.logs.append(attempt, 0, stream, 0, text)
        kept = await store.logs.read(attempt)
        assert sum(len(piece.data) for piece in kept) <= logs_module.STREAM_LEAST_BYTES
        records = await store.logs.read(attempt, streams=[LogStream.TASKS])
        assert b"".join(piece.data for piece in records) == text


@pytest.mark.parametrize("span", [(0, 30), (3, 4), (5, 25), (10, 20), (29, 99), (30, 40), (15, 15)])
async def test_a_span_of_an_output(database_url: str, span: tuple[int, int]) -> None:
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt = f"{job.id}-1"
        for at in range(0, 30, 10):
            await store.logs.append(attempt, 0, OUT, at, b"0123456789")
            await store.logs.append(attempt, 0, ERR, at, b"----------")
        begin, end = span
        found = await store.logs.span(attempt, 0, OUT, begin=begin, end=end)
        assert b"".join(piece.data for piece in found) == (b"0123456789" * 3)[begin:end]
        assert [piece.offset for piece in found][:1] == ([begin] if begin < min(end, 30) else [])

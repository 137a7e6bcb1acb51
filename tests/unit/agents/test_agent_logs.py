"""What is sent of a worker's output: all of it, in order, within the window."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import logs
from agents.logs import (
    NOTE,
    RESEND_AFTER_S,
    STREAM_WINDOW_BYTES,
    Key,
    Outgoing,
    Piece,
    Tail,
    look,
    read_piece,
)
from westward.v1 import job_pb2

HERE = Path("rank-0.stdout")


def tail(length: int, *, done: bool = False) -> Tail:
    return Tail(HERE, length, done)


def test_an_empty_stream_that_is_done_sends_its_end_alone() -> None:
    outgoing = Outgoing()
    assert outgoing.next_piece(tail(0)) is None
    assert outgoing.next_piece(tail(0, done=True)) == Piece(0, 0, end=True)


def test_an_end_waits_for_the_bytes_before_it() -> None:
    outgoing = Outgoing()
    outgoing.acknowledge(0, 0.0)
    outgoing.note_sent(10, end=False, at_s=0.0)
    assert outgoing.next_piece(tail(10, done=True)) is None
    outgoing.acknowledge(10, 1.0)
    assert outgoing.next_piece(tail(10, done=True)) == Piece(10, 0, end=True)
    outgoing.note_sent(10, end=True, at_s=1.0)
    assert not outgoing.ended
    outgoing.acknowledge(10, 2.0)
    assert outgoing.ended


def test_what_was_not_acknowledged_in_time_is_sent_again() -> None:
    outgoing = Outgoing()
    outgoing.note_sent(10, end=True, at_s=5.0)
    assert not outgoing.overdue(5.0 + RESEND_AFTER_S)
    assert outgoing.overdue(5.1 + RESEND_AFTER_S)
    outgoing.resend()
    assert outgoing.next_piece(tail(10, done=True)) == Piece(0, 10, end=True)


@given(st.integers(0, 2_000_000), st.data())
def test_all_bytes_arrive_once_in_order_whatever_breaks(length: int, data: st.DataObject) -> None:
    outgoing, stored, ended = Outgoing(), 0, False
    flying: list[Piece] = []
    faults = data.draw(st.integers(0, 8))
    done_after = data.draw(st.integers(0, 40))
    for step in range(400):
        if outgoing.ended:
            break
        piece = outgoing.next_piece(tail(length, done=step >= done_after))
        if piece is not None:
            outgoing.note_sent(piece.offset + piece.length, end=piece.end, at_s=0.0)
            flying.append(piece)
            assert outgoing.sent - outgoing.acked <= STREAM_WINDOW_BYTES
            continue
        if faults and data.draw(st.booleans()):
            # The connection breaks: what flies is lost, and so may be its acknowledgements.
            faults -= 1
            flying.clear()
            outgoing.resend()
            continue
        if not flying:
            continue
        arrived = flying.pop(0)
        if arrived.offset == stored:
            stored += arrived.length
            ended = ended or arrived.end
        outgoing.acknowledge(stored, 0.0)
    assert (stored, ended, outgoing.ended) == (length, True, True)


def test_look_finds_streams_and_pieces_are_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "STREAM_LIMIT_BYTES", 100)
    folder = tmp_path / "j1-1"
    folder.mkdir()
    content = os.urandom(150)
    (folder / "rank-3.stderr").write_bytes(content)
    (folder / "rank-x.stdout").write_bytes(b"not ours")
    (folder / "record.json").write_text("{}")
    found = look(tmp_path)
    key = Key("j1-1", 3, job_pb2.LOG_STREAM_STDERR)
    assert list(found) == [key]
    assert found[key].length == 100 + len(NOTE) and not found[key].done
    path = found[key].path
    assert read_piece(path, Piece(90, 20, end=False)) == content[90:100] + NOTE[:10]
    assert read_piece(path, Piece(110, len(NOTE) - 10, end=True)) == NOTE[10:]


def test_what_a_job_puts_among_its_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "j1-1"
    folder.mkdir()
    (folder / "rank-0.stdout").write_text("mine")
    (folder / "rank-0.stderr").symlink_to("/etc/passwd")
    os.mkfifo(folder / "rank-1.stdout")
    (folder / "rank-2.stdout").mkdir()
    (folder / "rank-4294967296.stdout").write_text("no message has room for this rank")
    for name in (b"\xff", b"a b"):
        strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        strange.mkdir()
        (strange / "rank-0.stdout").write_text("no attempt")
    assert list(look(tmp_path)) == [Key("j1-1", 0, job_pb2.LOG_STREAM_STDOUT)]
    # Put there between looking and reading:
    for path in (folder / "rank-0.stderr", folder / "rank-1.stdout"):
        with pytest.raises(OSError, match=r"plain file|symbolic links"):
            read_piece(path, Piece(0, 10, end=False))


def test_a_flood_is_cut_back_while_it_flows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "STREAM_LIMIT_BYTES", 100)
    monkeypatch.setattr(logs, "FLOOD_BYTES", 200)
    path = tmp_path / "j1-1" / "rank-0.stdout"
    path.parent.mkdir()
    with path.open("ab", buffering=0) as job:
        job.write(b"a" * 201)
        [tail_before] = look(tmp_path).values()
        assert path.stat().st_size == 101
        job.write(b"b" * 10)
        assert look(tmp_path)[Key("j1-1", 0, job_pb2.LOG_STREAM_STDOUT)] == tail_before
        assert path.read_bytes() == b"a" * 101 + b"b" * 10
        job.write(b"c" * 500)
    (path.parent / "rank-0.done").touch()
    assert look(tmp_path) and path.read_bytes().endswith(b"c" * 500), "the last words stay"


def test_the_records_of_tasks_are_a_stream_that_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "STREAM_LIMIT_BYTES", 100)
    monkeypatch.setattr(logs, "FLOOD_BYTES", 200)
    path = tmp_path / "j1-1" / "rank-0.tasks"
    path.parent.mkdir()
    path.write_bytes(b"a" * 300)
    found = look(tmp_path)[Key("j1-1", 0, job_pb2.LOG_STREAM_TASKS)]
    assert found.length == path.stat().st_size == 300
    assert read_piece(path, Piece(250, 50, end=True)) == b"a" * 50

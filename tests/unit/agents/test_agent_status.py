"""What an operator on the host is told of its daemon."""

import asyncio
import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from agents import status
from agents.check import Read
from agents.status import FILE, LOCK, Written, told
from tests.fakes.agent import connected
from tests.fakes.node_service import FakeScheduler
from westward.v1 import node_pb2

NOW = datetime(2026, 6, 18, 2, 30, tzinfo=UTC)


def written(**changes: object) -> Written:
    keys: dict[str, object] = {
        "written_at": NOW - timedelta(seconds=3),
        "node_id": "qy-7",
        "cluster": "qingyang",
        "scheduler": "127.0.0.1:7443",
        "since_at": NOW - timedelta(minutes=5),
        "why": "",
        "sent_bytes": 20,
        "sent": {"sentAt": "2026-06-18T02:29:57Z", "report": {"node": {"gpus": 900}}},
        "reads": [Read("host (psutil)", "96 CPUs"), Read("price", "", "no such file")],
        "rtt": {"shanghai": "p50 12.10"},
        "rejected": [("gpus", "900", "not within 0 to 64 accelerators")],
    }
    return Written.model_validate(keys | changes)


def test_all_that_matters_is_in_the_lines() -> None:
    text = "\n".join(told(written(), alive=True, now_at=NOW))
    assert "qy-7 of cluster qingyang: runs; as of 3 s ago" in text
    assert "connected since" in text
    assert "price: ERROR no such file" in text
    assert "shanghai: p50 12.10" in text
    assert 'sent       20 bytes at 2026-06-18T02:29:57Z: {"node": {"gpus": 900}}' in text
    assert "refused    gpus = 900: not within 0 to 64 accelerators" in text
    text = "\n".join(told(written(why="UNAVAILABLE: gone"), alive=False, now_at=NOW))
    assert "does not run; 3 s ago it said" in text
    assert "UNAVAILABLE: gone" in text


def test_the_exit_code_says_whether_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {
        "node_id": "qy-7",
        "cluster": "qingyang",
        "scheduler": {"address": "127.0.0.1:7443"},
        "data_dir": str(tmp_path),
    }
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump(keys))
    assert status.main(config) == 1
    assert "no agent has told its status there" in capsys.readouterr().out
    folder = tmp_path / "qy-7"
    folder.mkdir()
    status.write(written(), folder)
    assert status.main(config) == 1, "nobody runs"
    with (folder / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status.main(config) == 0
        status.write(written(why="gone"), folder)
        assert status.main(config) == 1
    config.write_text("node_id: 7")
    assert status.main(config) == 2


async def test_the_daemon_tells_what_it_sent_and_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "EVERY_S", 0.05)
    scheduler = FakeScheduler()
    scheduler.acknowledge = False
    async with connected(tmp_path, scheduler) as stream:
        await scheduler.until(lambda: stream.reports)
        refused = node_pb2.FieldRejection(field="gpus", value="8", reason="for the test")
        ack = node_pb2.ReportAck(seq=stream.reports[0].seq, rejections=[refused])
        stream.send(report_ack=ack)
        [folder] = [path.parent for path in tmp_path.glob(f"**/{LOCK}")]
        async with asyncio.timeout(10):
            while True:
                await asyncio.sleep(0.05)
                if (folder / FILE).exists():
                    now = Written.model_validate_json((folder / FILE).read_text())
                    if now.rejected and now.sent:
                        break
    assert now.why == ""
    assert now.rejected == [("gpus", "8", "for the test")]
    assert any("A800" in read.told for read in now.reads)
    assert "report" in now.sent
    assert 0 < now.sent_bytes == scheduler_bytes(now, stream.reports)


def scheduler_bytes(now: Written, reports: list[node_pb2.ConnectRequest]) -> int:
    """The size of the report that the status tells of, as it arrived."""
    [found] = [r for r in reports if str(r.seq) == now.sent["seq"]]
    return found.ByteSize()

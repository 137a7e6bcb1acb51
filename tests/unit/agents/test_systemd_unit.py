"""The unit that is shipped runs the command that there is, and stays hardened."""

import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from agents import daemon
from agents.config import AgentConfig
from tests.unit.repo.test_commands import objection

UNIT = Path(daemon.__file__).parent / "systemd" / "westward-agent.service"
# By systemd's own count, of 10.
EXPOSURE_MOST = 3.0


def test_the_unit_runs_the_agent_as_the_documents_do() -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT, encoding="utf-8")
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "westward"
    assert objection(["westward", *arguments]) is None
    state = Path("/var/lib") / service["StateDirectory"]
    assert AgentConfig.model_fields["data_dir"].default == state
    assert service["RestartPreventExitStatus"] == "2", "as the daemon ends on a bad configuration"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd")
def test_systemd_understands_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/westward/bin/westward", "/bin/true"))
    told = _analyzed("verify", str(here))
    assert UNIT.name not in told, told
    last = _analyzed("security", "--offline=true", str(here)).strip().splitlines()[-1]
    assert float(last.split(":")[1].split()[0]) <= EXPOSURE_MOST, last


def _analyzed(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr

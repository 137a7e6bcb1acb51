"""A Slurm of its own on this machine, to measure beside: slurmctld, one slurmd and munge.

Debian: `apt install slurm-wlm munge`; needs root. Nothing outside of one folder is written.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("sbatch", "scancel", "sinfo", "slurmctld", "slurmd", "munged")
UP_WITHIN_S = 30.0
POLL_S = 0.05
STOP_S = 10.0

CONFIG = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MaxJobCount=100000
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={gpus} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str | None:
    """Why no Slurm can be started here; None if one can."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"not installed ({', '.join(missing)} not found; apt install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "needs root"


@dataclass(frozen=True, slots=True)
class Slurm:
    """A running Slurm; its commands take ``env``."""

    env: dict[str, str]

    @property
    def version(self) -> str:
        """As its commands tell."""
        return self.run("sbatch", "--version").strip()

    def run(self, *command: str) -> str:
        """Runs a command of Slurm and returns what it printed.

        Raises:
            CalledProcessError: it failed.
        """
        return subprocess.run(
            command, env=self.env, check=True, capture_output=True, text=True
        ).stdout


@contextmanager
def running(folder: Path, gpus: int) -> Iterator[Slurm]:
    """One node with ``gpus`` accelerators and as many cores, by name only.

    Raises:
        RuntimeError: it does not come up; tells the end of its log.
    """
    env = {**os.environ, "SLURM_CONF": str(_configure(folder, gpus))}
    munge = [
        *("munged", "--foreground", "--force", "--num-threads=4"),
        *(f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"),
        *(f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed"),
        f"--log-file={folder}/munge.log",
    ]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            log = (folder / f"{command[0]}.out").open("wb")
            daemons.append(
                subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
            )
            log.close()
        _await_idle(env, folder)
        slurm = Slurm(env)
        yield slurm
        slurm.run("scancel", "--state=PENDING", "--partition=main")
        slurm.run("scancel", "--state=RUNNING", "--partition=main")
    finally:
        _end(daemons)


def _configure(folder: Path, gpus: int) -> Path:
    for name in ("state", "spool", "gpus"):
        (folder / name).mkdir(parents=True)
    for number in range(gpus):
        (folder / "gpus" / f"gpu{number}").touch()
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as two:
        ctld_port, slurmd_port = one.getsockname()[1], two.getsockname()[1]
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpus/gpu[0-{gpus - 1}]\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(
            folder=folder,
            gpus=gpus,
            host=socket.gethostname().split(".")[0],
            ctld_port=ctld_port,
            slurmd_port=slurmd_port,
        )
    )
    return config


def _await_idle(env: dict[str, str], folder: Path) -> None:
    until = time.monotonic() + UP_WITHIN_S
    while True:
        said = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=env, check=False, capture_output=True, text=True
        )
        if said.stdout.strip() == "idle":
            return
        if time.monotonic() > until:
            logs = "\n".join(
                path.read_text(errors="replace")[-1000:] for path in folder.glob("*d.log")
            )
            raise RuntimeError(f"Slurm is {said.stdout.strip() or said.stderr!r}:\n{logs}")
        time.sleep(POLL_S)  # Slurm's state can only be asked for


def _end(daemons: list[subprocess.Popen[bytes]]) -> None:
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

"""`make demo`: the main job for real, on this machine, gone without a trace at the end."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from rich.console import Console

from agents.executor.local_cluster import LocalCluster, LocalNode
from examples.demo import story
from examples.demo.hubs import CITIES, HUBS, SPEEDUP, STARTS_AT, Hub, agent_config, scheduler_config
from examples.demo.processes import Processes, free_ports
from scheduler.cli.render import clusters as render_clusters
from scheduler.cli.render import explain as render_explain
from scheduler.cli.render import placements as render_placements
from scheduler.client import Client, jobfile
from scheduler.client.errors import WestwardError
from westward.v1 import job_pb2

HERE = Path(__file__).resolve().parent
LOGS = Path(".demo")
# Where nobody says how wide the paper is.
LOG_WIDTH = 110
ZONE = "Asia/Shanghai"
READY_S = 60.0
# The one that cannot be placed stays pending; everything else must have ended by then.
JOBS_S = 150.0
UNPLACEABLE = "order-matching"
DEFERRED = "nightly-evaluation"
FINAL = (
    job_pb2.JOB_STATE_SUCCEEDED,
    job_pb2.JOB_STATE_FAILED,
    job_pb2.JOB_STATE_CANCELLED,
)


@contextmanager
def step(console: Console, doing: str) -> Iterator[None]:
    """A line that spins while something is done and then says how long it took."""
    began = time.monotonic()
    if console.is_terminal:
        with console.status(doing):
            yield
    else:
        console.print(f"… {doing}")
        yield
    console.print(f"[green]✓[/] {doing} [dim]({time.monotonic() - began:.0f} s)[/]")


def ray_cluster(index: int, hub: Hub, folder: Path) -> LocalCluster:
    """A hub's own Ray cluster, on loopback addresses of its own."""
    nodes = [
        LocalNode(node_id=h.node_id, gpus=h.gpus, cpus=h.cpus, memory_gb=h.memory_gb)
        for h in hub.hosts
    ]
    return LocalCluster(
        index=index, folder=folder / f"ray{index}", nodes=nodes, dashboard=hub.dashboard
    )


def start_hubs(stack: ExitStack, folder: Path) -> dict[str, LocalCluster]:
    """All hubs' Ray clusters, two at a time."""
    clusters = {h.name: ray_cluster(i, h, folder) for i, h in enumerate(HUBS, start=1)}
    for cluster in clusters.values():
        stack.callback(cluster.stop)
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda cluster: cluster.start(), clusters.values()))
    return clusters


def start_westward(processes: Processes, clusters: dict[str, LocalCluster], folder: Path) -> str:
    """Gateways, scheduler and agents; returns the scheduler's address."""
    names = ["scheduler", *(city.name for city in CITIES)]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    address = f"127.0.0.1:{ports['scheduler']}"
    for city in CITIES:
        delays = [f"--delay={hub}={ms}" for hub, ms in city.rtt_ms.items()]
        listen = f"127.0.0.1:{ports[city.name]}"
        processes.start(
            f"gateway-{city.name}", "gateway", "--region", city.name, "--listen", listen, *delays
        )
    config = folder / "scheduler.yaml"
    config.write_text(yaml.safe_dump(scheduler_config(ports, folder), allow_unicode=True))
    processes.start("scheduler", "scheduler", "--config", str(config))
    for hub in HUBS:
        for host in hub.hosts:
            ray = None
            if host is hub.hosts[0]:
                ray = {"address": clusters[hub.name].address}
                if hub.dashboard:
                    ray["dashboard_url"] = clusters[hub.name].dashboard_url or ""
            config = folder / f"agent-{host.node_id}.yaml"
            wanted = agent_config(hub, host, scheduler=address, ray=ray, folder=folder)
            config.write_text(yaml.safe_dump(wanted, allow_unicode=True))
            processes.start(f"agent-{host.node_id}", "agent", "--config", str(config))
    return address


def wait_for_reports(client: Client, processes: Processes) -> None:
    """Until every host has reported and every way has been measured."""
    until = time.monotonic() + READY_S
    wanted = {hub.name: len(hub.hosts) for hub in HUBS}
    while True:
        processes.check()
        try:
            known = {
                c.name: c.nodes
                for c in client.clusters().clusters
                if len(c.links) == len(CITIES) and c.connected
            }
        except WestwardError:
            known = {}
        if known == wanted:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"after {READY_S:.0f} s the agents have reported {known}")
        time.sleep(0.2)  # clusters are listed, not watched


def submit(console: Console, client: Client) -> dict[str, str]:
    """Submits every job file; returns names by job id."""
    ids: dict[str, str] = {}
    for path in sorted((HERE / "jobs").glob("*.yaml")):
        about = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for document in jobfile.load(path):
            job = client.submit(client.prepare(document)).job
            ids[job.id] = job.spec.name
            story.submitted(console, job, about)
    return ids


def follow(console: Console, client: Client, ids: dict[str, str]) -> None:
    """Prints every change until all but the unplaceable one have ended."""
    open_ids = {job_id for job_id, name in ids.items() if name != UNPLACEABLE}
    until = time.monotonic() + JOBS_S
    for change in client.watch(list(open_ids), until_final=True):
        # The first message of a job is where it stands; some have a place by now.
        if change.HasField("event") or change.job.state != job_pb2.JOB_STATE_PENDING:
            story.transition(console, change)
        if change.job.state in FINAL:
            open_ids.discard(change.job.id)
        if time.monotonic() > until:
            raise RuntimeError(f"still open after {JOBS_S:.0f} s: {sorted(open_ids)}")


def tell(console: Console, client: Client, ids: dict[str, str]) -> None:
    """What it came to."""
    by_name = {name: job_id for job_id, name in ids.items()}
    placements = client.placements(include_final=True)
    story.heading(console, "Where each job went (westward placements)")
    console.print(render_placements.listing(placements.placements))
    story.heading(
        console, "Why nightly-evaluation waited, and went where it went (westward explain)"
    )
    console.print(
        render_explain.explanation(client.explain(by_name["nightly-evaluation"]).explanation)
    )
    story.heading(console, f"Why {UNPLACEABLE} waits (westward explain)")
    console.print(render_explain.explanation(client.explain(by_name[UNPLACEABLE]).explanation))
    story.heading(console, "What pretrain-mini printed: two workers on two hosts (westward logs)")
    for piece in client.logs(by_name["pretrain-mini"]):
        for line in piece.data.decode(errors="replace").splitlines():
            console.print(f"[dim]\\[{piece.rank}][/] {line}", highlight=False)
    story.heading(console, "What going west saved, against running each job at its origin at once")
    story.savings(console, placements.placements)


def run(console: Console, keep: bool) -> None:
    began = time.monotonic()
    console.print("[bold]Westward 西算[/]: three western hubs, three eastern cities, a dozen jobs.")
    console.print(
        "Everything is real (Ray, gRPC, OR-Tools, SQLite, every process) but the accelerators, "
        f"the distances, and the power clock: it starts at {STARTS_AT:%H:%M} in Gansu and runs "
        f"{SPEEDUP} times as fast as yours.\n"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ww-")))
        with step(
            console, f"{len(HUBS)} Ray clusters with {sum(len(h.hosts) for h in HUBS)} hosts"
        ):
            clusters = start_hubs(stack, folder)
        stack.push(lambda kind, *_: keep_logs(folder) if kind is RuntimeError else None)
        processes = Processes(folder)
        stack.callback(processes.stop)
        with step(console, "scheduler, agents and gateways; the agents measure and report"):
            address = start_westward(processes, clusters, folder)
            client = stack.enter_context(Client(address))
            wait_for_reports(client, processes)
        story.heading(console, "The west as the agents report it (westward clusters)")
        console.print(render_clusters.listing(client.clusters()))
        story.heading(console, "Twelve jobs from Shanghai, Beijing and Shenzhen (westward submit)")
        ids = submit(console, client)
        story.heading(console, "What becomes of them (westward submit --watch)")
        follow(console, client, ids)
        tell(console, client, ids)
        if keep:
            explore(console, address)
        with step(console, "everything stopped"):
            stack.close()
    story.heading(console, f"Done in {time.monotonic() - began:.0f} s. Where to go next")
    console.print(story.NEXT)


def keep_logs(folder: Path) -> None:
    """After a failure, the logs are worth more than a clean folder."""
    LOGS.mkdir(exist_ok=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, LOGS)


def explore(console: Console, address: str) -> None:
    """Leaves all of it running until Ctrl-C."""
    story.heading(console, "Left running; Ctrl-C ends it. In another terminal")
    bin_folder = Path(sys.executable).parent
    settings = f"TZ={ZONE} WESTWARD_ADDRESS={address} PATH={bin_folder}:$PATH"
    console.print(f"export {settings}", highlight=False, soft_wrap=True)
    console.print("westward jobs; westward explain pretrain-mini; westward rounds")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print()


def main() -> int:
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    # The story is told in the hubs' local time.
    os.environ["TZ"] = ZONE
    time.tzset()
    # The jobs' `python` is this one.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Of what is started in the background, shells have SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run(console, keep="--keep" in sys.argv[1:])
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    except RuntimeError as error:
        console.print(f"[red]The demo failed:[/] {error}\nThe logs are in {LOGS}/.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

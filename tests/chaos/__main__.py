"""`make chaos`: real parts, real faults, and a judge that sees only files and the API.

CHAOS_FAULTS, CHAOS_JOBS and CHAOS_MINUTES say how much, CHAOS_SEED which. What is drawn follows
from the seed; when it strikes depends on the machine. CHAOS_KINDS takes kinds of faults, with
commas between them; all kinds are the default.
"""

import asyncio
import os
import signal
import sys

from rich.console import Console
from rich.table import Table

from tests.chaos.faults import KINDS
from tests.chaos.run import Report, run
from tests.chaos.stage import staged

# The nodes of each hub.
HUBS = (2, 1)
TOLD_MOST = 40


def main() -> int:
    seed = int(os.environ.get("CHAOS_SEED") or int.from_bytes(os.urandom(3), "big"))
    faults = int(os.environ.get("CHAOS_FAULTS") or 500)
    jobs = int(os.environ.get("CHAOS_JOBS") or 600)
    minutes = float(os.environ.get("CHAOS_MINUTES") or 10)
    chosen = os.environ.get("CHAOS_KINDS", "")
    kinds = frozenset(kind.strip() for kind in chosen.split(",")) if chosen else frozenset(KINDS)
    if strangers := kinds - KINDS.keys():
        print(f"CHAOS_KINDS: {sorted(strangers)} are none of {sorted(KINDS)}", file=sys.stderr)
        return 2
    print(f"chaos: seed {seed}, {faults} faults, {jobs} jobs, {minutes:g} min", flush=True)
    # A kill cleans up as Ctrl-C does: processes, and the small disk.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    report = asyncio.run(_run(seed, jobs, faults, minutes * 60, kinds))
    show(report)
    return 1 if report.violations else 0


async def _run(seed: int, jobs: int, faults: int, over_s: float, kinds: frozenset[str]) -> Report:
    async with staged(HUBS, small_disk=True) as (stage, folder):
        report = await run(stage, seed=seed, jobs=jobs, faults=faults, over_s=over_s, kinds=kinds)
        if report.violations:
            show(report)
            raise SystemExit(f"the logs are in {folder}")
        return report


def show(report: Report) -> None:
    """Prints the table."""
    table = Table(title=f"Chaos, seed {report.seed}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in KINDS:
        table.add_row(name, str(report.faults[name]))
    table.add_row("faults", str(report.faults.total()), end_section=True)
    for state, count in sorted(report.states.items()):
        table.add_row(f"jobs {state}", str(count))
    table.add_row("jobs", str(report.states.total()), end_section=True)
    table.add_row("attempts", str(report.attempts))
    table.add_row("processes that wrote down their lives", str(report.lives))
    table.add_row("attempts that ended well unheard, and ran again", str(report.unheard))
    table.add_row("cancels acknowledged", str(report.cancelled))
    table.add_row("jobs suspended and resumed", str(report.suspended))
    table.add_row("attempts preempted", str(report.preempted))
    table.add_row("calls that failed and were repeated", str(report.refusals))
    for part, codes in report.own_ends.items():
        table.add_row(f"{part} ended by itself", str(codes))
    table.add_row(
        "seconds of faults, then of peace", f"{report.faults_s:.0f}, {report.peace_s:.0f}"
    )
    table.add_row("violations", str(len(report.violations)))
    console = Console()
    console.print(table)
    for violation in report.violations[:TOLD_MOST]:
        console.print(f"[red]{violation.kind}[/]: {violation.told}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())

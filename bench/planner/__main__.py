"""Runs the cases, each in a fresh process, tells what came of them and keeps it.

Cases that are run take the place of those of the same recipe in ``bench/results/planner.json``.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.instances import SIZES, Mode, Recipe
from bench.planner.result import CASE, FILE, Case, Failure, Results, rank, read, write
from bench.planner.tables import tell
from bench.report import machine

LOAD = 0.65
# Beside the planner's time, a case takes that of the baselines and of the checker.
LIMIT_S = 1800.0
# One core is what the planner is measured on.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def everything() -> Iterator[Recipe]:
    """All sizes, modes and chunks; three seeds up to M, where loads are compared as well."""
    for size, mode, chunk in product(SIZES.values(), Mode, (4, 8)):
        for seed in (1, 2, 3) if size.name in ("S", "M") else (1,):
            yield Recipe(size=size, mode=mode, chunk=chunk, load=LOAD, seed=seed)
    for load, seed in product((0.25, 0.45, 0.9), (1, 2, 3)):
        yield Recipe(size=SIZES["M"], mode=Mode.FLOW, chunk=8, load=load, seed=seed)


def asked(options: argparse.Namespace) -> list[Recipe]:
    """The recipes that the command line names, in order."""
    if options.all:
        return sorted(everything(), key=rank)
    combined = product(options.sizes, options.modes, options.chunks, options.loads, options.seeds)
    recipes = {
        Recipe(size=SIZES[size], mode=Mode(mode), chunk=chunk, load=load, seed=seed)
        for size, mode, chunk, load, seed in combined
    }
    return sorted(recipes, key=rank)


def run(recipe: Recipe, limit_s: float) -> Case | Failure:
    """Measures one instance in a process of its own."""
    words = (recipe.size.name, recipe.mode, recipe.chunk, recipe.load, recipe.seed)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.planner.case", *map(str, words)],
            env={**os.environ, **ONE_THREAD},
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failure(recipe, f"not done within {limit_s:g} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return _failure(recipe, f"ended with {done.returncode}: {last}")
    return CASE.validate_json(done.stdout)


def _failure(recipe: Recipe, why: str) -> Failure:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Failure(recipe=recipe, measured_at=at, why=why)


def measure(recipes: Sequence[Recipe], limit_s: float) -> list[Case | Failure]:
    """Runs all cases and keeps each when it is done."""
    with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
        here = {**machine(Path(folder)), "numpy": version("numpy")}
    before = read()
    results = (
        Results(machine=here)
        if before is None
        else Results(machine=here, cases=before.cases, failures=before.failures)
    )
    done = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(recipes))
        for recipe in recipes:
            progress.update(task, description=str(recipe))
            done.append(run(recipe, limit_s))
            results = results.joined(done[-1])
            write(results)
            progress.advance(task)
    return done


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.planner", description=__doc__)
    add = parser.add_argument
    add("--sizes", nargs="+", choices=list(SIZES), default=["S", "M"])
    add("--modes", nargs="+", choices=list(Mode), default=list(Mode))
    add("--chunks", nargs="+", type=int, default=[4, 8], help="largest pool by largest gang")
    add("--loads", nargs="+", type=float, default=[LOAD], help="of what is free")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--all", action="store_true", help="every case the documents tell of; takes hours")
    add("--limit-s", type=float, default=LIMIT_S, help="for one case; default %(default)g s")
    return parser.parse_args(arguments)


def main() -> int:
    options = options_of(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started must end
    done = measure(asked(options), options.limit_s)
    console = Console()
    tell(done, console if console.is_terminal else Console(width=170))
    print(f"kept in {FILE.relative_to(Path.cwd()) if FILE.is_relative_to(Path.cwd()) else FILE}")
    return any(isinstance(case, Failure) for case in done)


if __name__ == "__main__":
    sys.exit(main())

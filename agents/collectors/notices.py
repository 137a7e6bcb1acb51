"""Telling an attempt, in what it prints, what its own node knows of its accelerators."""

from pathlib import Path

import structlog

from agents.finding import find

log = structlog.get_logger()


def tell(attempts_dir: Path, attempt_id: str, text: str) -> None:
    """Writes a line to the stderr of every worker of the attempt on this node. Blocks.

    People read it in ``westward logs``; a worker that fails then has it as its last line.
    """
    for path in find(attempts_dir, f"{attempt_id}/rank-*.stderr"):
        try:
            with path.open("ab") as stderr:
                stderr.write(f"\n[westward: {text}]\n".encode())
        except OSError as error:
            log.warning("attempt_not_told", attempt=attempt_id, file=str(path), error=str(error))

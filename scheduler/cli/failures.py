"""Tells an error as one clear message with its fix, and gives the exit code."""

import os

from rich.console import Console
from rich.text import Text

from scheduler.cli import exits
from scheduler.client import errors, settings
from scheduler.client.problems import JobFileError

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.InvalidRequestError, exits.BAD_INPUT),
    (errors.ConflictError, exits.BAD_INPUT),
    (errors.NotFoundError, exits.NOT_FOUND),
    (errors.UnreachableError, exits.UNREACHABLE),
    (errors.RefusedError, exits.REFUSED),
    (errors.WestwardError, exits.SCHEDULER_ERROR),
    (ValueError, exits.BAD_INPUT),
)


def tell(error: Exception) -> int:
    """Writes the message to stderr; returns the exit code.

    Raises:
        Exception: the error itself where it is none of ours, for it is a bug to be seen.
    """
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if code is None or type(error) is ValueError:
        raise error
    say(lines(error))
    return code


def lines(error: Exception) -> list[str]:
    """The message, the refused fields, and the fix where the error does not name it."""
    if isinstance(error, JobFileError):
        count = len(error.problems)
        head = f"nothing was submitted; {count} thing{'s' if count > 1 else ''} to mend:"
        return [head, *(f"  {problem}" for problem in error.problems)]
    told = [str(error)]
    if isinstance(error, errors.WestwardError):
        faults = [f"{item.field}: {item.description}" for item in error.violations]
        # The scheduler's sentence begins with the first.
        said = bool(faults) and told[0].startswith(faults[0])
        told += [f"  {fault}" for fault in faults[said:]]
    if isinstance(error, errors.UnreachableError):
        told.append(f"  Is it running there? The address comes from {_source()}.")
        told.append("  To use another: export WESTWARD_ADDRESS=host:port")
    if isinstance(error, errors.RefusedError):
        told.append("  Set the token: export WESTWARD_TOKEN=…, or `token:` in the config file")
    return told


def say(told: list[str]) -> None:
    """Writes lines to stderr, the first with a mark."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("Error: ", "bold red"), told[0]))
    for line in told[1:]:
        console.print(Text(line))


def note(told: str) -> None:
    """Writes to stderr what is no error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(told))


def _source() -> str:
    if "WESTWARD_ADDRESS" in os.environ:
        return "WESTWARD_ADDRESS"
    path = settings.file_path()
    return str(path) if path.is_file() else f"the default (no WESTWARD_ADDRESS, no {path})"

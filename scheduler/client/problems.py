"""What is wrong with a job file, told so that it can be mended at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. ``line`` counts from 1; ``field`` is the path within the document, e.g.
    ``per_worker.gpus``, empty where the file as a whole is meant."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return (
            f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"
        )


class JobFileError(ValueError):
    """A job file that cannot be used; the message has one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A suggestion: the nearest known word, or all that are known."""
    words = list(known)
    close = get_close_matches(wrong.lower(), words, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(words)}"


def shown(value: object, most_chars: int = 60) -> str:
    """A value as an error quotes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most_chars else text[: most_chars - 1] + "…"

"""YAML for people, read defensively: plain data with the line of every field.

Built from libyaml's events rather than by a YAML loader, because a loader expands anchors (a file
of 1 KB can grow to gigabytes), lets a later key silently win over an earlier one, and forgets
where a value stood. Plain scalars follow the core schema of YAML 1.2: ``no`` is a word, ``1:30``
is not a number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from scheduler.client.problems import JobFileError, Problem, shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 20

Path_ = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.nan"
)
_WORDS = {"": None, "~": None, "null": None, "true": True, "True": True, "false": False} | {
    "False": False
}
_LONGEST_INT = 30


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document as plain data. ``lines`` has the line of every path in it, from 1;
    ``texts`` what stands there of every scalar, because ``1.10`` as a number is ``1.1``."""

    file: str
    value: object
    lines: dict[Path_, int]
    texts: dict[Path_, str]

    def line_of(self, path: Path_) -> int:
        """The line of a path, or of the nearest thing around it that is in the file."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(path: Path, display: str | None = None) -> list[Document]:
    """All documents of a file that are not empty.

    Raises:
        JobFileError: the file cannot be read, is larger than 1 MiB or not UTF-8, is not YAML, or
            uses anchors, aliases, tags, or a key twice.
    """
    name = display or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise JobFileError([Problem(name, 1, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > MAX_BYTES:
        text = f"is {path.stat().st_size:,} bytes; a job file has at most {MAX_BYTES:,} (1 MiB)"
        raise JobFileError([Problem(name, 1, "", f"{text}; data belongs into working_dir")])
    try:
        return list(parse(raw.decode("utf-8"), name))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        text = f"is not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        raise JobFileError([Problem(name, line, "", text)]) from error


def parse(text: str, file: str) -> Iterator[Document]:
    """The documents of a text that are not empty; raises ``JobFileError`` like ``read``."""
    events = yaml.parse(text, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
    builder = _Builder(file, events)
    try:
        while (document := builder.next_document()) is not None:
            if document.value is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = " ".join(part for part in (error.problem, error.context) if part)
        line = mark.line + 1 if mark else 1
        raise JobFileError([Problem(file, line, "", f"is not YAML: {told}")]) from error
    except yaml.YAMLError as error:
        raise JobFileError([Problem(file, 1, "", f"is not YAML: {error}")]) from error


class _Builder:
    """Walks the events of one file; every refusal names the line."""

    def __init__(self, file: str, events: Iterator[yaml.Event]) -> None:
        self._file = file
        self._events = events
        self._lines: dict[Path_, int] = {}
        self._texts: dict[Path_, str] = {}

    def next_document(self) -> Document | None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._lines, self._texts = {}, {}
                value = self._value(next(self._events), ())
                return Document(self._file, value, self._lines, self._texts)
        return None

    def _refuse(self, event: yaml.Event, path: Path_, message: str) -> JobFileError:
        return JobFileError([Problem(self._file, _line(event), dotted(path), message)])

    def _value(self, event: yaml.Event, path: Path_) -> object:
        self._check(event, path)
        self._lines.setdefault(path, _line(event))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        assert isinstance(event, yaml.ScalarEvent)
        self._texts[path] = event.value
        return plain(event.value) if event.implicit[0] else event.value

    def _check(self, event: yaml.Event, path: Path_) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, path, f"aliases (*{event.anchor}) are refused; write it out")
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            raise self._refuse(event, path, f"anchors (&{anchor}) are refused; remove it")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refuse(event, path, f"tags ({tag}) are refused; write plain values")
        if len(path) > MAX_DEPTH:
            raise self._refuse(event, path[:3], f"is nested more than {MAX_DEPTH} deep")

    def _sequence(self, path: Path_) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path_) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._check(event, path)
                raise self._refuse(event, path, "has a key that is not a word; write `key: value`")
            self._check(event, path)
            key, here = event.value, (*path, event.value)
            if key in items:
                first = self._lines[here]
                raise self._refuse(
                    event, here, f"is given twice (first on line {first}); remove one"
                )
            self._lines[here] = _line(event)
            items[key] = self._value(next(self._events), here)
        return items


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1


def plain(text: str) -> object:
    """A scalar without quotes as the core schema of YAML 1.2 reads it."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) <= _LONGEST_INT:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def dotted(path: Path_) -> str:
    """``("data", 0, "size_gb")`` as ``data[0].size_gb``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text if len(text) <= 200 else shown(text, 200)

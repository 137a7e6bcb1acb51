"""Every command that a document shows can be typed: it parses, its targets and files exist."""

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from scheduler.cli.main import COMMANDS, app, load
from tests.unit.repo.tree import ROOT, files, name, text

BLOCK = re.compile(r"^ *```(console|bash|sh)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:make|westward) [^`\n]+)`")
OPERATORS = {"|", "||", "&&", "&", ";"}
REDIRECTIONS = {">", ">>", "<", "2>"}
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}


def shown(document: str) -> Iterator[str]:
    """The command lines in a document's blocks, continued ones joined."""
    for kind, block in BLOCK.findall(document):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            stripped = line.strip()
            if kind == "console":
                if stripped.startswith("$ "):
                    yield stripped[2:]
            elif stripped and not stripped.startswith("#"):
                yield stripped


def commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a shell line, without variables before and redirections after."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    tokens = iter([*lexer, ";"])
    for token in tokens:
        if token in OPERATORS:
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            if words:
                yield words
            words = []
        elif token in REDIRECTIONS:
            next(tokens)
        else:
            words.append(token)


def objection(words: list[str]) -> str | None:
    """Why a command cannot be typed as it stands; None if it can."""
    program, *arguments = words
    missing = [word for word in words if not _is_there(word)]
    if missing:
        return f"no such file: {missing}"
    if program == "westward":
        return _westward(arguments)
    if program == "make":
        targets = {a for a in arguments if "=" not in a}
        benches = {f"bench-{path.parent.name}" for path in ROOT.glob("bench/*/__main__.py")}
        benches |= {f"bench-{path.stem}" for path in ROOT.glob("bench/*.py")}
        known = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
        unknown = targets - known - benches
        if unknown:
            return f"the Makefile makes no {sorted(unknown)}"
    return None


def _is_there(word: str) -> bool:
    """Whether a word that looks like a path in the repository is one."""
    folder, slash, _ = word.partition("/")
    return not (slash and folder in FOLDERS) or (ROOT / word).exists()


def _westward(arguments: list[str]) -> str | None:
    name, *rest = arguments
    if name not in COMMANDS:
        return f"westward has no command {name!r}"
    try:
        load(name).make_context(f"westward {name}", rest)
    except TyperException as error:
        return f"westward {name}: {error}"
    return None


SHOWN = [(name(path), line) for path in files(".md") for line in shown(text(path))]
MENTIONED = {mention for path in files(".md") for mention in INLINE.findall(text(path))}


def test_the_documents_show_commands() -> None:
    assert len(SHOWN) > 20


@pytest.mark.parametrize(("document", "line"), sorted(set(SHOWN)))
def test_what_is_shown_can_be_typed(document: str, line: str) -> None:
    found = [why for words in commands(line) if (why := objection(words))]
    assert not found, f"{document}: {line}"


@pytest.mark.parametrize("mention", sorted(MENTIONED))
def test_what_is_mentioned_exists(mention: str) -> None:
    """Words for what the reader must fill in stand in capitals, so that only names are checked."""
    program, first, *rest = shlex.split(mention)
    if program == "make":
        assert objection(["make", first, *rest]) is None
    elif first.startswith("-"):
        assert first in {option for param in get_command(app).params for option in param.opts}
    else:
        assert first in COMMANDS
        known = {option for param in load(first).params for option in param.opts}
        assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("westward sbumit examples/site/hello.yaml", "no command 'sbumit'"),
        ("westward submit examples/site/nothing.yaml", "no such file"),
        ("westward jobs --colour red", "--colour"),
        ("westward explain", "westward explain"),
        ("make coffee", "makes no ['coffee']"),
        ("A=1 make test && cat docs/nothing.md > out", "no such file: ['docs/nothing.md']"),
    ],
)
def test_what_cannot_be_typed_is_caught(line: str, told: str) -> None:
    [why] = [why for words in commands(line) if (why := objection(words))]
    assert told in why


def test_continued_and_piped_lines_are_understood() -> None:
    document = "```console\n$ A=1 westward jobs \\\n    -o json | head -3\nprinted\n```\n"
    [line] = shown(document)
    assert list(commands(line)) == [["westward", "jobs", "-o", "json"], ["head", "-3"]]

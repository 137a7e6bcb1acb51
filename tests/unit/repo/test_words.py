"""What stands in the files is about the product and holds on any machine."""

import re
from pathlib import Path

from tests.unit.repo.tree import ROOT, files, is_generated, name, text

# Hosts that an address in this repository may name. A lock file with the address of a package
# index, or a document with that of somebody's machine, is caught because it is not here.
HOSTS = re.compile(
    r"""(?x)
    (?: localhost | 127(\.\d+){3} | 0\.0\.0\.0 | \[::1\]
      | ([\w-]+\.)*example\.(com|org|cn) | [\w-]+\.example
      | json-schema\.org | www\.w3\.org | opensource\.org | creativecommons\.org
      | (docs\.)?github\.com | docs\.ray\.io | kubernetes\.io | helm\.sh | grpc\.io | doi\.org
    )$"""
)
ADDRESS = re.compile(r"(?:https?|grpcs?)://([^\s/:\"'`<>()\\{}]+|\[[^\]]*\])")
HOMES = re.compile(r"(?<![\w.])/(?:home|Users|root)/[\w.]+")
LATER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
TRACKER = re.compile(r"\b(?:issue|ticket)s? #?\d", re.IGNORECASE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

TEXTS = {
    name(path): text(path)
    for path in files()
    if not is_generated(path) and b"\0" not in path.read_bytes()[:4096]
}


def _matches(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{where}:{number}: {found.group()}"
        for where, content in TEXTS.items()
        for number, line in enumerate(content.splitlines(), 1)
        for found in pattern.finditer(line)
    ]


def test_no_path_of_one_machine() -> None:
    found = _matches(HOMES) + _matches(re.compile(re.escape(f"{ROOT}/")))
    assert not found


def test_every_address_is_of_a_known_host() -> None:
    strangers = [
        f"{where}: {host}"
        for where, content in TEXTS.items()
        for host in ADDRESS.findall(content)
        if not HOSTS.match(host.split("@")[-1])
    ]
    assert not strangers


def test_nothing_is_put_off_in_a_comment() -> None:
    assert not _matches(LATER)


def test_no_comment_needs_the_tracker_to_be_understood() -> None:
    assert not _matches(TRACKER)


def test_links_between_documents_lead_to_files_of_the_repository() -> None:
    broken = []
    for path in files(".md"):
        for target in LINK.findall(text(path)):
            if re.match(r"[a-z]+:|#", target):
                continue
            end = (path.parent / target.split("#")[0]).resolve()
            if not (end.is_relative_to(ROOT) and end.exists()):
                broken.append(f"{name(path)}: {target}")
    assert not broken


def test_every_document_is_reached_from_the_index() -> None:
    index = text(ROOT / "docs" / "README.md")
    linked = {(ROOT / "docs" / t.split("#")[0]).resolve() for t in LINK.findall(index)}
    documents: set[Path] = {p for p in files(".md") if p.parent == ROOT / "docs"}
    missing = documents - linked - {ROOT / "docs" / "README.md"}
    assert not missing, f"docs/README.md does not mention {sorted(map(name, missing))}"

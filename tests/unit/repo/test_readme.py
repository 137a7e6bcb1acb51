"""README.zh.md says what README.md says: the same sections, commands, examples, files and links."""

import re

import pytest
import yaml

from tests.unit.repo.tree import ROOT, text

ENGLISH = text(ROOT / "README.md")
CHINESE = text(ROOT / "README.zh.md")
HAN = re.compile(r"[\u4e00-\u9fff]")


def _sections(document: str) -> dict[str, str]:
    parts = re.split(r"^<!-- section: ([a-z-]+) -->\n", document, flags=re.MULTILINE)
    assert parts[0] == "", "text before the first section"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _blocks(section: str) -> list[str]:
    return re.findall(r"^```.*?^```$", section, re.MULTILINE | re.DOTALL)


def _links(section: str) -> list[str]:
    targets = re.findall(r"\]\(([^)]+)\)", section)
    return sorted(t for t in targets if not t.startswith("README"))


SECTIONS = list(_sections(ENGLISH))


def test_the_sections_come_in_the_same_order() -> None:
    assert list(_sections(CHINESE)) == SECTIONS


def test_every_heading_is_in_a_section_of_its_own() -> None:
    for document in (ENGLISH, CHINESE):
        prose = re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)
        assert len(re.findall(r"^#+ ", prose, re.MULTILINE)) == len(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_has_the_same_blocks_links_and_shape(section: str) -> None:
    english, chinese = _sections(ENGLISH)[section], _sections(CHINESE)[section]
    assert _blocks(chinese) == _blocks(english)
    assert _links(chinese) == _links(english)
    for start in (r"^#+ ", r"^- ", r"^\|"):
        counts = [len(re.findall(start, s, re.MULTILINE)) for s in (english, chinese)]
        assert counts[0] == counts[1], f"lines that start like {start!r}"
    code = [sorted(re.findall(r"(?<!`)`([^`\n]+)`", s)) for s in (english, chinese)]
    assert code[0] == code[1]


def test_each_is_in_its_own_language() -> None:
    for section in SECTIONS:
        prose = re.sub(r"```.*?```", "", _sections(CHINESE)[section], flags=re.DOTALL)
        assert HAN.search(prose), section
    prose = re.sub(r"```.*?```", "", ENGLISH, flags=re.DOTALL)
    assert set(HAN.findall(prose)) <= set("西算中文"), "Chinese in README.md"


def test_the_two_commands_come_first() -> None:
    assert _blocks(ENGLISH)[0] == "```console\n$ make demo\n$ make test\n```"


def test_the_job_that_is_shown_is_the_one_that_is_submitted() -> None:
    [shown] = [block for block in _blocks(ENGLISH) if block.startswith("```yaml")]
    job = text(ROOT / "examples" / "site" / "hello.yaml")
    assert yaml.safe_load(shown.strip("`").removeprefix("yaml")) == yaml.safe_load(job)


def test_every_folder_of_the_layout_exists() -> None:
    folders = re.findall(r"^\| `([^`]+)` \|", _sections(ENGLISH)["layout"], re.MULTILINE)
    assert folders
    assert not [folder for folder in folders if not (ROOT / folder).is_dir()]

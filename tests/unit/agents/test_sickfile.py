"""What a node's agent calls sick is known to whoever is given accelerators there."""

from pathlib import Path

import pytest

from agents import sickfile
from agents.collectors.accelerators import Sick

SICK = (Sick(2, "GPU-2f6c", "XID 79"), Sick(11, "GPU-77aa", "a row could not be remapped"))


@pytest.mark.parametrize(
    ("environment", "indices"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2"}, [2]),
        ({"CUDA_VISIBLE_DEVICES": "0, 1,11"}, [11]),
        ({"CUDA_VISIBLE_DEVICES": "1,12,22"}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-77aa-0031"}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-77"}, [11]),
        ({"ASCEND_RT_VISIBLE_DEVICES": "2"}, [2]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({}, []),
    ],
)
def test_the_sick_among_what_is_given(
    tmp_path: Path, environment: dict[str, str], indices: list[int]
) -> None:
    sickfile.write(tmp_path, SICK)
    found = sickfile.given(environment, tmp_path)
    assert found == [one for one in SICK if one.index in indices]


def test_what_is_well_again_is_given_again(tmp_path: Path) -> None:
    sickfile.write(tmp_path, SICK)
    sickfile.write(tmp_path, ())
    assert sickfile.given({"CUDA_VISIBLE_DEVICES": "2"}, tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[[1]]", b"[5]", b"\xff", b'[["x", "", ""]]'])
def test_without_a_file_that_can_be_read_nothing_is_sick(tmp_path: Path, damage: bytes) -> None:
    assert sickfile.read(tmp_path) == []
    (tmp_path / sickfile.NAME).write_bytes(damage)
    assert sickfile.read(tmp_path) == []

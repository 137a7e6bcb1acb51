"""A program that the system refuses to start: whose fault it is decides what comes next."""

import errno
import os

import pytest

from agents.executor.launch import not_launched
from scheduler.domain.reason import ReasonCode


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, ReasonCode.COMMAND_NOT_FOUND),
        (errno.EACCES, ReasonCode.COMMAND_NOT_FOUND),
        (errno.EAGAIN, ReasonCode.RAY_ERROR),
        (errno.ENOMEM, ReasonCode.RAY_ERROR),
        (errno.EMFILE, ReasonCode.RAY_ERROR),
    ],
)
def test_a_node_without_room_is_not_the_commands_fault(number: int, code: ReasonCode) -> None:
    refused = not_launched(["work"], 3, OSError(number, os.strerror(number)))
    assert refused.ending.code is code
    assert os.strerror(number) in refused.ending.message

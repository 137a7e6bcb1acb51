"""Jobs to the wire and back."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given

from scheduler.domain.job import (
    AttemptState,
    Command,
    GreenMatching,
    JobSpec,
    JobState,
    WorkerShape,
)
from scheduler.domain.log import LogStream
from scheduler.rpc.convert_jobs import (
    MalformedError,
    attempt_state_to_pb,
    attempt_to_pb,
    log_stream_from_pb,
    log_stream_to_pb,
    spec_from_pb,
    spec_to_pb,
    state_from_pb,
    state_to_pb,
)
from tests.fakes.jobs import a_spec, an_attempt
from tests.fakes.specs import specs
from westward.v1 import job_pb2


@given(spec=specs())
def test_a_spec_survives_the_wire(spec: JobSpec) -> None:
    sent = spec_to_pb(spec).SerializeToString()
    assert spec_from_pb(job_pb2.JobSpec.FromString(sent)) == spec


def test_what_is_left_unset_has_its_default() -> None:
    spec = spec_from_pb(job_pb2.JobSpec(name="x", accelerators=[{"model": "A800"}]))
    assert spec.workers == 1
    assert spec.per_worker == WorkerShape(0, 1.0, 1.0)
    assert spec.accelerators[0].relative_speed == 1.0
    assert spec.max_attempts == 3
    assert spec.max_rtt_ms is None
    assert spec.min_green_share is None
    assert spec.working_dir_sha256 is None
    assert spec.work == Command(())


def test_a_limit_of_zero_is_a_limit() -> None:
    spec = spec_from_pb(job_pb2.JobSpec(max_rtt_ms=0.0, min_green_share=0.0))
    assert (spec.max_rtt_ms, spec.min_green_share) == (0.0, 0.0)


@pytest.mark.parametrize("matching", GreenMatching)
def test_green_matching_goes_there_and_back(matching: GreenMatching) -> None:
    spec = a_spec(min_green_share=0.5, green_matching=matching)
    assert spec_from_pb(spec_to_pb(spec)) == spec
    assert spec_from_pb(job_pb2.JobSpec()).green_matching is GreenMatching.SLOT
    with pytest.raises(MalformedError) as caught:
        spec_from_pb(job_pb2.JobSpec(green_matching=9))  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == ["green_matching"]


@pytest.mark.parametrize(
    "stamp",
    [Timestamp(seconds=10**12), Timestamp(seconds=-(10**12)), Timestamp(nanos=-1)],
)
def test_a_time_that_is_none_is_refused(stamp: Timestamp) -> None:
    with pytest.raises(MalformedError) as caught:
        spec_from_pb(job_pb2.JobSpec(deadline_at=stamp))
    assert [violation.field for violation in caught.value.violations] == ["deadline_at"]


def test_fields_of_a_newer_version_are_refused_where_they_are() -> None:
    unknown = b"\xf8\x07\x01"  # field 127, a number
    message = spec_to_pb(a_spec())
    message.MergeFromString(unknown)
    message.per_worker.MergeFromString(unknown)
    message.accelerators[1].MergeFromString(unknown)
    with pytest.raises(MalformedError) as caught:
        spec_from_pb(message)
    assert {violation.field for violation in caught.value.violations} == {
        "field 127",
        "per_worker.field 127",
        "accelerators[1].field 127",
    }
    assert "upgrade the scheduler" in caught.value.violations[0].description


def test_every_state_has_its_name_on_the_wire() -> None:
    assert [state_from_pb(state_to_pb(state)) for state in JobState] == list(JobState)
    streams = list(LogStream)
    assert [log_stream_from_pb(log_stream_to_pb(stream)) for stream in streams] == streams
    assert len({attempt_state_to_pb(state) for state in AttemptState}) == len(AttemptState)
    with pytest.raises(MalformedError, match="one of PENDING, ASSIGNED"):
        state_from_pb(job_pb2.JOB_STATE_UNSPECIFIED)


def test_an_exit_code_of_zero_is_not_none() -> None:
    assert not attempt_to_pb(an_attempt("j")).HasField("exit_code")
    assert attempt_to_pb(an_attempt("j", exit_code=0)).HasField("exit_code")

"""What a broken stream had delivered, so that opening it anew repeats nothing."""

from typing import Protocol, TypeVar

from westward.v1 import event_pb2, job_pb2

Item = TypeVar("Item")


class Cursor(Protocol[Item]):
    """Stands between a stream that may be opened anew and its reader."""

    def reopen(self) -> None:
        """The stream is opened anew."""
        ...

    def accept(self, answer: Item) -> Item | None:
        """What is new of an answer, or None."""
        ...


class WatchCursor:
    """Drops the state that each job had when the stream broke."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._repeated: dict[str, int] = {}

    def reopen(self) -> None:
        """The stream is opened anew: each job's first message may be one that was seen."""
        self._repeated = dict(self._seen)

    def accept(self, answer: job_pb2.WatchResponse) -> job_pb2.WatchResponse | None:
        """The answer, or None for a repeat."""
        job = answer.job
        repeated = self._repeated.pop(job.id, None) == job.version
        self._seen[job.id] = job.version
        return None if repeated else answer


class EventCursor:
    """Has the stream go on after the last event that was seen: the request is sent anew."""

    def __init__(self, request: event_pb2.WatchEventsRequest) -> None:
        self._request = request
        self._seen = request.after

    def reopen(self) -> None:
        """The stream is opened anew."""
        self._request.after = self._seen

    def accept(self, answer: event_pb2.WatchEventsResponse) -> event_pb2.WatchEventsResponse | None:
        """The answer: none comes twice."""
        self._seen = answer.position
        return answer


class LogCursor:
    """Drops the bytes that were seen."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int, int], int] = {}

    def reopen(self) -> None:
        """The stream is opened anew; offsets tell what was seen."""

    def accept(self, answer: job_pb2.LogsResponse) -> job_pb2.LogsResponse | None:
        """What is new of the answer, or None."""
        key = (answer.attempt_id, answer.rank, answer.stream)
        seen = self._next.get(key, 0)
        end = answer.offset + len(answer.data)
        if end <= seen:
            return None
        self._next[key] = end
        if answer.offset < seen:
            answer.data = answer.data[seen - answer.offset :]
            answer.offset = seen
        return answer

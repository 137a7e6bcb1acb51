"""The open streams to the head agents, and what was last wished on each."""

from typing import Protocol

# How many desired states of one stream are remembered, to tell which one an observation answers.
REMEMBERED = 256


class HeadStream(Protocol):
    """One head agent's stream, as the dispatcher needs it."""

    # The newest of its observations that was stored.
    stored_seq: int

    @property
    def cluster(self) -> str: ...

    def wish_changed(self) -> None:
        """Sends the desired state soon; the stream asks the dispatcher for it as it leaves."""
        ...


class Streams:
    """Head agents' streams by cluster; the newest stream of a cluster counts."""

    def __init__(self) -> None:
        self._heads: dict[str, HeadStream] = {}
        self._named: dict[str, dict[int, frozenset[str]]] = {}
        # By cluster, the newest desired state that named each attempt.
        self._last_named: dict[str, dict[str, int]] = {}

    def add(self, stream: HeadStream) -> None:
        self._heads[stream.cluster] = stream
        self._named[stream.cluster] = {}
        self._last_named[stream.cluster] = {}

    def remove(self, stream: HeadStream) -> None:
        if self._heads.get(stream.cluster) is stream:
            del self._heads[stream.cluster]
            del self._named[stream.cluster]
            del self._last_named[stream.cluster]

    def head_of(self, cluster: str) -> HeadStream | None:
        return self._heads.get(cluster)

    def current(self, stream: HeadStream) -> bool:
        """Whether no newer stream of the cluster has taken this one's place."""
        return self._heads.get(stream.cluster) is stream

    def remember(self, cluster: str, seq: int, attempt_ids: frozenset[str]) -> None:
        """Keeps which attempts a desired state named."""
        named = self._named.get(cluster)
        if named is None:
            return
        named[seq] = attempt_ids
        while len(named) > REMEMBERED:
            del named[next(iter(named))]
        last_named = self._last_named[cluster]
        last_named.update(dict.fromkeys(attempt_ids, seq))
        if len(last_named) > 2 * len(attempt_ids) + REMEMBERED:
            oldest = next(iter(named))
            kept = {id_: at for id_, at in last_named.items() if at > oldest}
            self._last_named[cluster] = kept

    def named(self, cluster: str, seq: int) -> frozenset[str] | None:
        """Which attempts the desired state ``seq`` named; None if it is not remembered."""
        return self._named.get(cluster, {}).get(seq)

    def named_after(self, cluster: str, seq: int, attempt_id: str) -> bool:
        """Whether a desired state after ``seq``, one that is remembered, named an attempt."""
        return self._last_named.get(cluster, {}).get(attempt_id, seq) > seq

"""Whatever is lost, repeated, delayed or restarted: what runs becomes what is desired."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.reconcile import Forget, LeaseState, Seen, Start, Stop, Wanted, job_of, reconcile
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode

RUNNING, STOPPED, SUCCEEDED = AttemptState.RUNNING, AttemptState.STOPPED, AttemptState.SUCCEEDED


def test_before_the_first_word_nothing_is_touched() -> None:
    seen = [Seen("a-1", 1, RUNNING), Seen("b-1", 1, STOPPED)]
    assert reconcile(None, seen, LeaseState.HELD, {"b-1"}) == []


def test_what_is_wanted_starts_and_strangers_stop() -> None:
    actions = reconcile([Wanted("a-1", 1)], [Seen("x-1", 1, RUNNING)], LeaseState.HELD)
    assert actions == [Stop("x-1", ReasonCode.STOPPED), Start("a-1")]


def test_nothing_starts_without_a_lease() -> None:
    assert reconcile([Wanted("a-1", 1)], [], LeaseState.UNKNOWN) == []
    assert reconcile([Wanted("a-1", 1)], [], LeaseState.ENDING) == []


def test_an_ending_lease_stops_all_that_is_alive() -> None:
    seen = [Seen("a-1", 1, RUNNING), Seen("b-1", 1, SUCCEEDED)]
    expired = [Stop("a-1", ReasonCode.LEASE_EXPIRED)]
    assert reconcile([Wanted("a-1", 1)], seen, LeaseState.ENDING) == expired
    assert reconcile(None, seen, LeaseState.ENDING) == expired


def test_what_outlives_its_lease_goes_on_but_starts_no_more_than_others() -> None:
    seen = [Seen("a-1", 1, RUNNING, outlives_lease=True)]
    assert reconcile(None, seen, LeaseState.ENDING) == []
    assert reconcile([Wanted("b-1", 1)], seen, LeaseState.ENDING) == []
    assert reconcile([], seen, LeaseState.HELD) == [Stop("a-1", ReasonCode.STOPPED)]


def test_the_next_attempt_of_a_job_waits_until_the_one_before_is_gone() -> None:
    wanted = [Wanted("a-1", 1), Wanted("a-2", 2)]
    running = [Seen("a-1", 1, RUNNING)]
    assert reconcile(wanted, running, LeaseState.HELD) == [Stop("a-1", ReasonCode.STOPPED)]
    gone = [Seen("a-1", 1, STOPPED)]
    assert reconcile(wanted, gone, LeaseState.HELD) == [Start("a-2")]


def test_an_older_epoch_neither_starts_nor_stops_a_newer_one() -> None:
    assert reconcile([Wanted("a-1", 1)], [Seen("a-2", 2, RUNNING)], LeaseState.HELD) == []
    assert reconcile([Wanted("a-1", 1)], [], LeaseState.HELD, ended={"a": 1}) == []


def test_an_end_is_kept_until_it_is_stored_and_nobody_wants_the_attempt() -> None:
    seen = [Seen("a-1", 1, SUCCEEDED)]
    assert reconcile([Wanted("a-1", 1)], seen, LeaseState.HELD, {"a-1"}) == []
    assert reconcile([], seen, LeaseState.HELD) == []
    assert reconcile([], seen, LeaseState.HELD, {"a-1"}) == [Forget("a-1")]


@dataclass
class Cluster:
    """An executor that obeys at once, with a memory of what ended."""

    attempts: dict[str, Seen] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    def converge(self, wanted: list[Wanted] | None, lease: LeaseState, heard: bool) -> None:
        ends = {a for a, seen in self.attempts.items() if seen.state.final}
        confirmed = ends if heard else set[str]()
        epochs = {w.attempt_id: w.epoch for w in wanted or ()}
        seen = list(self.attempts.values())
        for action in reconcile(wanted, seen, lease, confirmed, self.ended):
            match action:
                case Start(attempt_id):
                    self.started.append(attempt_id)
                    self.attempts[attempt_id] = Seen(attempt_id, epochs[attempt_id], RUNNING)
                case Stop(attempt_id):
                    self.end(attempt_id)
                case Forget(attempt_id):
                    del self.attempts[attempt_id]
        self.check()

    def end(self, attempt_id: str) -> None:
        seen = self.attempts[attempt_id]
        self.attempts[attempt_id] = Seen(attempt_id, seen.epoch, STOPPED)
        job_id = job_of(attempt_id)
        self.ended[job_id] = max(seen.epoch, self.ended.get(job_id, -1))

    def live(self) -> set[str]:
        return {a for a, seen in self.attempts.items() if not seen.state.final}

    def check(self) -> None:
        jobs = [job_of(attempt_id) for attempt_id in self.live()]
        assert len(jobs) == len(set(jobs)), "two live attempts of one job"
        assert len(self.started) == len(set(self.started)), "an attempt was started twice"


# A scheduler's history: each state of one job's epochs, or none, over time; epochs only grow.
histories = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), max_size=3), min_size=1, max_size=6
)


@settings(max_examples=300)
@given(histories, st.data())
def test_converges_whatever_the_order_and_repetition(
    history: list[dict[str, int]], data: st.DataObject
) -> None:
    newest: dict[str, int] = {}
    messages: list[list[Wanted]] = []
    for state in history:
        grown = {job: max(epoch, newest.get(job, 0)) for job, epoch in state.items()}
        newest |= grown
        messages.append([Wanted(f"{job}-{epoch}", epoch) for job, epoch in grown.items()])
    cluster = Cluster()
    arrivals = data.draw(st.lists(st.sampled_from(range(len(messages))), max_size=12))
    for index in arrivals:
        lease = data.draw(st.sampled_from(LeaseState))
        cluster.converge(messages[index], lease, data.draw(st.booleans()))
        if cluster.live() and data.draw(st.booleans()):
            cluster.end(data.draw(st.sampled_from(sorted(cluster.live()))))
    last = messages[-1]
    for _ in range(3):
        cluster.converge(last, LeaseState.HELD, heard=True)
    for wanted in last:
        runs = wanted.attempt_id in cluster.live()
        # Only what had its end here already, or was overtaken by a later epoch, may not run.
        past = cluster.ended.get(job_of(wanted.attempt_id), -1) >= wanted.epoch
        newer = any(
            job_of(a) == job_of(wanted.attempt_id) and cluster.attempts[a].epoch > wanted.epoch
            for a in cluster.attempts
        )
        assert runs or past or newer
    wanted_jobs = {job_of(wanted.attempt_id) for wanted in last}
    assert {job_of(attempt_id) for attempt_id in cluster.live()} <= wanted_jobs
    # A fourth pass finds nothing to do.
    seen = list(cluster.attempts.values())
    assert reconcile(last, seen, LeaseState.HELD, set(), cluster.ended) == []

"""An audit trail in messages of the wire, of the same scene as ``canned``."""

from tests.fakes.canned import jobs, reason, stamp
from westward.v1 import event_pb2


def audit() -> list[event_pb2.Event]:
    """Oldest first: hosts, a cluster, an operator, a round, and a job among them."""
    node, cluster = event_pb2.EVENT_SUBJECT_NODE, event_pb2.EVENT_SUBJECT_CLUSTER
    agent, planner = {"actor": "agent/qy-2"}, {"actor": "planner"}

    def event(
        minutes: float, name: str, what: str, change: str = " ", told: str = "", **more: object
    ) -> event_pb2.Event:
        before, after = change.split(" ")
        made = event_pb2.Event(
            id=int(minutes * 10),
            at=stamp(minutes),
            actor="scheduler",
            subject=node,
            name=name,
            event=what,
            from_state=before,
            to_state=after,
            cluster="qingyang",
            reason=reason("", told),
        )
        made.MergeFrom(event_pb2.Event(**more))  # type: ignore[arg-type]
        return made

    running = jobs()[0].id
    return [
        event(0, "qy-2", "JOINED", " READY", "8 × A800, 128 CPUs; agent 0.1.0", **agent),
        event(
            0.1, "qingyang", "SERVING", " SERVING", "its head agent is heard, and it starts jobs",
            subject=cluster, actor="agent/qingyang",
        ),
        event(0.5, "qy-2", "FIELD_REFUSED", told="cpus = '-4': below 0", **agent),
        event(
            1, running, "ASSIGN", "PENDING ASSIGNED", subject=event_pb2.EVENT_SUBJECT_JOB,
            attempt_id=f"{running}-1", reason=reason("CHOSEN", "cheapest within 20 ms"), **planner,
        ),
        event(1.5, "qy-2", "CORDONED", "READY CORDONED", "new fan", actor="operator"),
        event(2, "qy-2", "SUSPECT", "READY SUSPECT", "silent for a few reports"),
        event(
            2.5, "42", "FAILED", told="RuntimeError: no", subject=event_pb2.EVENT_SUBJECT_ROUND,
            **planner,
        ),
        event(
            3, "scheduler", "STOPPED", told="asked to stop",
            subject=event_pb2.EVENT_SUBJECT_SCHEDULER,
        ),
    ]  # fmt: skip

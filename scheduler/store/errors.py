"""What the store refuses, and how it fails."""


class StoreError(Exception):
    """The database could not do it: full, locked, corrupt, gone. Nothing was acknowledged."""


class LeadershipLostError(StoreError):
    """The database is not as this scheduler left it; what it remembers is not what is stored."""

    def __init__(self) -> None:
        super().__init__(
            "another scheduler has taken over this database, or it was set back to an earlier "
            "state (a failover, a restore); this one must not write any more: restart it, or "
            "stop one of the two"
        )


class StaleVersionError(Exception):
    """A job changed since the version that a change was decided on."""

    def __init__(self, job_id: str, expected: int, found: int) -> None:
        super().__init__(
            f"job {job_id} is at version {found}, the change was decided on version {expected}; "
            "read the job again and decide anew"
        )
        self.job_id = job_id
        self.expected = expected
        self.found = found


class UnknownAttemptError(Exception):
    """No attempt has this id, or it has no such worker."""

    def __init__(self, attempt_id: str, rank: int) -> None:
        super().__init__(f"no attempt {attempt_id!r} with a worker {rank} is known here")
        self.attempt_id = attempt_id


class BlobError(Exception):
    """The content handed in is not what was announced, or too large.

    ``field`` is what to mend of the announcement, or ``data``.
    """

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description

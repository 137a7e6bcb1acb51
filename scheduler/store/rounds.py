"""Planning rounds and what they said of each job."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.domain.explanation import Explanation
from scheduler.domain.round import RoundRecord
from scheduler.store import rows
from scheduler.store.codec import EXPLANATION
from scheduler.store.database import Database
from scheduler.store.jobs import replace_explanations
from scheduler.store.tables import ATTEMPTS, EXPLANATIONS, ROUNDS


class RoundStore:
    """The memory of the planning loop. ``load`` before use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest_id = 0

    async def load(self) -> None:
        """Reads where the numbering of the rounds stands."""

        def work(connection: Connection) -> int:
            newest = [
                connection.scalar(sa.select(sa.func.max(column))) or 0
                for column in (ROUNDS.c.id, ATTEMPTS.c.round_id)
            ]
            return max(newest)

        self._newest_id = await self._database.read(work)

    def new_id(self) -> int:
        """A number for a round that begins: its placements name it before it is stored."""
        self._newest_id += 1
        return self._newest_id

    async def add(self, record: RoundRecord, explanations: Sequence[Explanation]) -> None:
        """Stores a round with its explanations, each of which becomes the newest of its job."""

        def work(connection: Connection) -> None:
            connection.execute(sa.insert(ROUNDS), [rows.of_round(record)])
            replace_explanations(connection, [(explanation, 0) for explanation in explanations])

        await self._database.write(work)

    async def find(self, round_id: int) -> RoundRecord | None:
        """One round; None where there is none, or it was so long ago that it is forgotten."""
        query = sa.select(ROUNDS).where(ROUNDS.c.id == round_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return rows.round_record(row) if row is not None else None

    async def list_newest(self, limit: int) -> list[RoundRecord]:
        """Rounds, newest first."""
        query = sa.select(ROUNDS).order_by(ROUNDS.c.id.desc()).limit(limit)
        return await self._database.read(
            lambda c: [rows.round_record(row) for row in c.execute(query)]
        )

    async def explanation(self, job_id: str, attempt: int | None = None) -> Explanation | None:
        """The newest explanation of a job, or the one that led to an attempt (from 1)."""
        query = sa.select(EXPLANATIONS.c.body).where(
            EXPLANATIONS.c.job_id == job_id, EXPLANATIONS.c.attempt_number == (attempt or 0)
        )
        text = await self._database.read(lambda c: c.scalar(query))
        return EXPLANATION.decode(text) if text is not None else None

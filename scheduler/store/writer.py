"""The one writer: many works, one transaction, one wait for the disk."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from scheduler.store.errors import LeadershipLostError, StoreError
from scheduler.store.leader import Leader

T = TypeVar("T")
W = TypeVar("W")
log = structlog.get_logger(__name__)
# Bounds how long the first of a batch waits for the last.
BATCH = 500
# Under load a commit waits so long for company: each costs far more than one work in it.
COMPANY_S = 0.005
# How often a database that went away during a commit is asked what became of it.
ASK_S = 0.2
# These harm one statement; every other failure of the driver may have ended the transaction.
HARMLESS = (IntegrityError, DataError, ProgrammingError)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a work: a value, or the reason why nothing of it is stored."""

    value: T | None
    error: Exception | None


Done = Callable[[Outcome[T]], None]


# Does many wishes of one kind at once; one result per wish, in order.
JointWork = Callable[[Connection, Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Item:
    """``joint`` and ``wishes`` are of a work that can be done together with its neighbours."""

    work: Callable[[Connection], Any]
    done: Done[Any] | None
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    joint: JointWork | None = None
    wishes: Sequence[Any] = ()


class Writer:
    """A thread that commits everything that waits in one transaction (group commit)."""

    def __init__(
        self, engine: Engine, explain: Callable[[DBAPIError], StoreError], leader: Leader | None
    ) -> None:
        self._engine = engine
        self._explain = explain
        self._leader = leader
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-write", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Connection], T], done: Done[T] | None) -> T:
        """See ``Database.write``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Item(work, done, future, loop))
        return await future

    async def submit_joint(
        self,
        work: Callable[[Connection, Sequence[W]], list[T]],
        wishes: Sequence[W],
        done: Done[list[T]] | None,
    ) -> list[T]:
        """See ``Database.write_joint``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[T]] = loop.create_future()
        self._put(
            _Item(
                lambda connection: work(connection, wishes),
                done,
                future,
                loop,
                joint=work,
                wishes=wishes,
            )
        )
        return await future

    def _put(self, item: _Item) -> None:
        if self._closed:
            raise StoreError("the store is closed; nothing is written any more")
        self._queue.put(item)

    def close(self) -> None:
        """Commits what waits, then ends. Blocks."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        crowded = False
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            if crowded:
                time.sleep(COMPANY_S)  # the writer's own thread
            while len(batch) < BATCH and not last:
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
                if item is None:
                    last = True
                else:
                    batch.append(item)
            crowded = len(batch) > 1
            try:
                outcomes = self._commit(batch)
            except Exception as error:  # without this thread, every later write would hang
                log.exception("store.writer_broke")
                outcomes = [Outcome(None, StoreError(f"the writer broke: {error!r}"))] * len(batch)
            _answer(batch, outcomes)
            if last:
                return

    def _commit(self, batch: list[_Item]) -> list[Outcome[Any]]:
        """One transaction for all; where that fails, one each, so that a work that does not fit
        on the disk harms only itself."""
        if len(batch) == 1:
            return [self._alone(batch[0])]
        begun = False

        def run(connection: Connection) -> list[Outcome[Any]]:
            nonlocal begun
            begun = True
            outcomes: list[Outcome[Any]] = []
            for joint, items in groupby(batch, key=lambda item: item.joint):
                outcomes += self._together(connection, joint, [*items])
            return outcomes

        try:
            return self._transact(run)
        except StoreError as error:
            return [Outcome(None, error)] * len(batch)
        except DBAPIError as error:
            # Without a connection, or behind a lock, each would only wait as long again.
            if begun and not error.connection_invalidated:
                return [self._alone(item) for item in batch]
            return [Outcome(None, self._failed(error))] * len(batch)

    def _alone(self, item: _Item) -> Outcome[Any]:
        try:
            return Outcome(self._transact(item.work), None)
        except DBAPIError as error:
            return Outcome(None, self._failed(error))
        except Exception as error:  # the work's own; its caller gets it
            return Outcome(None, error)

    def _transact(self, run: Callable[[Connection], T]) -> T:
        """Returns what ``run`` returned once it is committed for certain."""
        stamped = False
        try:
            with self._engine.begin() as connection:
                value = run(connection)
                if self._leader is not None:
                    self._leader.stamp(connection)
                    stamped = True
        except DBAPIError as error:
            # The connection broke during the commit: it was done or not, only the answer is lost.
            if not (stamped and error.connection_invalidated and self._was_committed(error)):
                raise
        if self._leader is not None:
            self._leader.committed()
        return value

    def _was_committed(self, error: DBAPIError) -> bool:
        """Asks until the database answers. Meanwhile it cannot write, and who wants to is told."""
        assert self._leader is not None
        log.warning("store.commit_in_doubt", error=str(self._explain(error)))
        while not self._closed:
            try:
                with self._engine.connect() as connection:
                    stands = self._leader.stands(connection)
            except LeadershipLostError:
                raise
            except (DBAPIError, StoreError) as still:
                failure = self._failed(still) if isinstance(still, DBAPIError) else still
                self._refuse_waiting(failure)
                time.sleep(ASK_S)  # the writer's own thread, which has nothing else to do
            else:
                log.info("store.commit_settled", stored=stands)
                return stands
        raise StoreError(
            "the connection broke during a commit, and the store was closed before the database "
            "could say whether it is stored; it is known again after the next start"
        )

    def _refuse_waiting(self, failure: StoreError) -> None:
        batch: list[_Item] = []
        while not self._queue.empty():
            if (item := self._queue.get()) is None:
                self._queue.put(None)
                break
            batch.append(item)
        if batch:
            _answer(batch, [Outcome(None, failure)] * len(batch))

    def _together(
        self, connection: Connection, joint: JointWork | None, items: list[_Item]
    ) -> list[Outcome[Any]]:
        """Works that follow each other: in one go where they can be, under one savepoint; where
        that fails, one by one, so that a work that cannot be done harms only itself."""
        if joint is not None and len(items) > 1:
            wishes = [wish for item in items for wish in item.wishes]
            try:
                with connection.begin_nested():
                    results = iter(joint(connection, wishes))
                return [Outcome([*islice(results, len(item.wishes))], None) for item in items]
            except Exception as error:
                if isinstance(error, DBAPIError) and not isinstance(error, HARMLESS):
                    raise
                log.info("store.not_together", works=len(items), why=type(error).__name__)
        return [self._under_savepoint(connection, item) for item in items]

    def _under_savepoint(self, connection: Connection, item: _Item) -> Outcome[Any]:
        try:
            with connection.begin_nested():
                return Outcome(item.work(connection), None)
        except HARMLESS as error:
            return Outcome(None, self._failed(error))
        except DBAPIError:
            raise
        except Exception as error:  # the work's own; its caller gets it
            return Outcome(None, error)

    def _failed(self, error: DBAPIError) -> StoreError:
        failure = self._explain(error)
        log.error("store.write_failed", error=str(failure))
        return failure


def _answer(batch: list[_Item], outcomes: list[Outcome[Any]]) -> None:
    try:
        batch[0].loop.call_soon_threadsafe(_resolve, batch, outcomes)
    except RuntimeError:
        log.warning("store.nobody_waits", works=len(batch), why="the event loop is closed")


def _resolve(batch: list[_Item], outcomes: list[Outcome[Any]]) -> None:
    """On the event loop: first what must follow every commit in order, then who waits."""
    for item, outcome in zip(batch, outcomes, strict=True):
        if item.done is not None:
            try:
                item.done(outcome)
            except Exception:
                # The commit stands, whatever its follower trips over: the others must hear of it.
                log.exception("store.follow_up_broke")
        if item.future.cancelled():
            continue
        if outcome.error is not None:
            item.future.set_exception(outcome.error)
        else:
            item.future.set_result(outcome.value)

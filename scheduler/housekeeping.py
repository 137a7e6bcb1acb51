"""What a scheduler does on the side, for as long as it runs."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from scheduler.clock import Clock
from scheduler.config import KeepConfig
from scheduler.dispatch.leases import Leases
from scheduler.state.contacts import HAPPENINGS
from scheduler.store import Store, granted, retention
from scheduler.store.blobs import UNUSED_MOST
from scheduler.store.errors import StoreError

log = structlog.get_logger()

TIDY_EVERY_S = 3600.0


async def settle_leases(store: Store, leases: Leases) -> None:
    """Notes that leases of an earlier scheduler, perhaps longer ones than ours, are over."""
    await asyncio.sleep(leases.earlier_expire_in_s())
    try:
        await granted.settle(store.database, leases.lease_ttl_s)
    except StoreError as error:
        log.warning("lease_ttl.not_stored", why=str(error))  # the next start waits longer


async def tidy(store: Store, keep: KeepConfig, clock: Clock) -> None:
    """Forgets what has been kept for long enough, again and again."""
    database = store.database
    while True:
        now = clock.now()
        try:
            jobs = await retention.forget_jobs(database, now - timedelta(days=keep.jobs_days))
            # Of the clients, which upload, none goes by the power clock.
            unused_since_at = datetime.now(UTC) - UNUSED_MOST
            dirs = await retention.forget_working_dirs(database, unused_since_at)
            logs = await retention.forget_logs(database, now - timedelta(days=keep.logs_days))
            rounds = await retention.forget_rounds(database, now - timedelta(days=keep.rounds_days))
            events = await retention.forget_events(
                database, now - timedelta(days=keep.events_days), HAPPENINGS
            )
        except StoreError as error:
            log.error("retention.failed", why=str(error))
        else:
            told = log.info if jobs or dirs or logs or rounds or events else log.debug
            told(
                "retention.done",
                jobs=jobs,
                working_dirs=dirs,
                log_pieces=logs,
                rounds=rounds,
                events=events,
            )
        await asyncio.sleep(TIDY_EVERY_S)

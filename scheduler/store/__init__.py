"""The database: jobs, their stories, rounds, working directories and logs."""

from scheduler.store.store import Store

__all__ = ["Store"]

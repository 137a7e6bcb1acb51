"""The rules in force, followed while the scheduler runs."""

from pathlib import Path

import structlog

from policies.rules import Rules
from scheduler.config import ConfigError
from scheduler.policyfile.load import load

log = structlog.get_logger()


class LiveRules:
    """Those of a policy file, read anew when it changes. A change that cannot be used changes
    nothing: it is logged, and what held before goes on."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file; without one, all is as by default.

        Raises:
            ConfigError: the file cannot be used.
        """
        self._path = path
        self._seen = self._state()
        self._rules = Rules() if path is None else load(path).rules()

    def now(self) -> Rules:
        """The rules for a round that begins now."""
        if self._path is not None and (state := self._state()) != self._seen:
            self._seen = state
            try:
                self._rules = load(self._path).rules()
            except ConfigError as error:
                log.error("policies.refused", why=str(error))
            else:
                log.info("policies.changed", file=str(self._path))
        return self._rules

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size)

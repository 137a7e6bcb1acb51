"""Meters what attempts use of this node's power, whether or not the scheduler listens."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from agents.collectors.accelerators import Device, Driver, load_w
from agents.collectors.base import CollectorError
from agents.collectors.energy import Account, Accounts
from agents.collectors.sight import ids_of, in_sight
from agents.config import Accelerators
from agents.finding import find

log = structlog.get_logger()

# How often attempts are looked for, at least; at once when the number of their locks changes.
LOOK_EVERY_S = 10.0
ESTIMATED_EVERY_S = 5.0
KEEP_EVERY_S = 30.0
# An account is told of for so long after its attempt was last seen here.
REMEMBERED_S = 3600.0
ACCOUNTS_MOST = 1024
J_PER_KWH = 3.6e6

Look = Callable[[], Mapping[str, set[str]]]


class Meter:
    """Samples the accelerators' draw and books it to attempts; keeps the accounts on disk, so that
    a restart loses seconds. What is used while no agent runs is not metered.

    Args:
        driver: None where nothing can be read; then everything is estimated.
        node_dir: this node's folder, with ``attempts/``.
    """

    def __init__(
        self,
        keys: Accelerators | None,
        driver: Driver | None,
        *,
        node_dir: Path,
        look: Look | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._driver = driver
        self._attempts_dir = node_dir / "attempts"
        self._file = node_dir / "energy.json"
        self._look = look or (lambda: in_sight(node_dir.name))
        self._clock_s = clock_s
        self._accounts = Accounts(keys.host_share_kw * 1000 if keys is not None else 0.0)
        self._seen: Mapping[str, set[str]] = {}
        self._looked: tuple[float, int] | None = None
        self._kept_s = 0.0
        self._trouble = ""
        self._named: Sequence[Device] = ()
        self.held: dict[str, list[str]] = {}

    async def run(self) -> None:
        """Samples until cancelled. Where a node has no accelerators there is nothing to do."""
        if self._keys is None:
            return
        await asyncio.to_thread(self._restore)
        every_s = self._driver.draws_every_s if self._driver is not None else ESTIMATED_EVERY_S
        while True:
            try:
                await asyncio.to_thread(self.sample)
            except Exception:
                # What a driver's library may raise is not known, and to meter is not worth the end
                # of the daemon, which keeps attempts safe: it is logged, and sampled again.
                log.exception("meter_broke")
            await asyncio.sleep(every_s)

    def accounts(self) -> dict[str, Account]:
        """What attempts have used here, by their ids."""
        return dict(self._accounts.by_attempt)

    def holders(self, device_id: str) -> list[str]:
        """Attempts that were given a device."""
        return sorted(attempt_id for attempt_id, ids in self.held.items() if device_id in ids)

    def sample(self) -> None:
        """Takes one sample. Blocks."""
        assert self._keys is not None, "run sees to it"
        now_s = self._clock_s()
        devices = self._draws()
        # What does not answer now is still called as it was.
        self._named = devices or self._named
        self._look_if_due(now_s)
        held = {
            attempt_id: ids_of(names, self._named)
            for attempt_id, names in self._seen.items()
            if names
        }
        declared_w = (self._keys.gpu_power_kw or 0.0) * 1000 - self._keys.host_share_kw * 1000
        load = {device_id: max(0.0, declared_w) for ids in held.values() for device_id in ids}
        for device in self._named:
            load[device.id] = load_w(device, self._keys) or load.get(device.id, 0.0)
        self._accounts.sample(now_s, devices, held, load)
        self.held = held
        self._forget(now_s)
        if now_s - self._kept_s >= KEEP_EVERY_S:
            self._kept_s = now_s
            self._keep()

    def _draws(self) -> Sequence[Device]:
        if self._driver is None:
            return ()
        try:
            devices = self._driver.draws()
        except CollectorError as error:
            if str(error) != self._trouble:
                log.warning("power_not_read", error=str(error))
            self._trouble = str(error)
            return ()
        self._trouble = ""
        return devices

    def _look_if_due(self, now_s: float) -> None:
        locks = sum(1 for _ in find(self._attempts_dir, "*/rank-*.lock"))
        if (
            self._looked is None
            or locks != self._looked[1]
            or (now_s - self._looked[0] >= LOOK_EVERY_S)
        ):
            self._seen, self._looked = self._look(), (now_s, locks)

    def _forget(self, now_s: float) -> None:
        accounts = self._accounts.by_attempt
        for attempt_id in sorted(accounts, key=lambda name: accounts[name].last_s):
            old = now_s - accounts[attempt_id].last_s > REMEMBERED_S
            if attempt_id not in self.held and (old or len(accounts) > ACCOUNTS_MOST):
                del accounts[attempt_id]

    def _keep(self) -> None:
        kept = {
            attempt_id: [round(account.joules), round(account.estimated_joules), account.gpus]
            for attempt_id, account in self._accounts.by_attempt.items()
        }
        try:
            draft = self._file.with_suffix(".part")
            draft.write_text(json.dumps(kept), encoding="utf-8")
            draft.rename(self._file)
        except OSError as error:
            log.warning("energy_not_kept", file=str(self._file), error=str(error))

    def _restore(self) -> None:
        now_s = self._clock_s()
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            for attempt_id, (joules, estimated, gpus) in kept.items():
                self._accounts.by_attempt[attempt_id] = Account(
                    float(joules), float(estimated), int(gpus), now_s
                )
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("energy_not_restored", file=str(self._file), error=repr(error))


def told_kwh(account: Account) -> tuple[float, float]:
    """Energy and its estimated part for a report, in kWh, to the watt-hour's tenth."""
    return round(account.joules / J_PER_KWH, 4), round(account.estimated_joules / J_PER_KWH, 4)

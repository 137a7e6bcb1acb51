"""Energy of attempts: the draw of the accelerators that Ray gave them, integrated. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.collectors.accelerators import Device

# Between two samples further apart than this nobody knows what the power did, unless the device
# counts its energy itself.
GAP_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Used:
    """Energy of one device between two samples; ``metered`` is False where it is only estimated."""

    joules: float
    metered: bool


@dataclass(slots=True)
class Account:
    """What one attempt has used on this node. The joules of the host's share are declared, those of
    ``estimated`` are of accelerators that did not say what they drew."""

    joules: float = 0.0
    estimated_joules: float = 0.0
    gpus: int = 0
    last_s: float = 0.0


def between(before: Device, after: Device, elapsed_s: float, load_w: float) -> Used:
    """Energy of a device between two samples of it.

    Its own counter tells it whatever lies between; else the trapezoid of its power at both ends;
    else, and through a gap too long for that, ``load_w``.
    """
    if before.energy_j is not None and after.energy_j is not None:
        counted_j = after.energy_j - before.energy_j
        # The counter begins anew with the driver.
        if counted_j >= 0:
            return Used(counted_j, metered=True)
    if before.power_w is None or after.power_w is None:
        return Used(load_w * elapsed_s, metered=False)
    return Used((before.power_w + after.power_w) / 2 * elapsed_s, metered=elapsed_s <= GAP_MOST_S)


class Accounts:
    """Books what devices use to the attempts that hold them."""

    def __init__(self, host_share_w: float) -> None:
        self.by_attempt: dict[str, Account] = {}
        self._host_share_w = host_share_w
        self._at_s: float | None = None
        self._devices: dict[str, Device] = {}
        self._held: Mapping[str, Sequence[str]] = {}

    def sample(
        self,
        now_s: float,
        devices: Sequence[Device],
        held: Mapping[str, Sequence[str]],
        load_w: Mapping[str, float],
    ) -> None:
        """Books the time since the sample before to those who held the devices when it began.

        Args:
            now_s: on a clock that never steps.
            held: ids of devices by attempt; those that ``devices`` does not tell of are estimated.
            load_w: what each device is taken to draw where it does not say.
        """
        elapsed_s = now_s - self._at_s if self._at_s is not None else 0.0
        now = {device.id: device for device in devices}
        if elapsed_s > 0:
            for attempt_id, ids in self._held.items():
                self._book(attempt_id, ids, elapsed_s, now, load_w)
        for attempt_id, ids in held.items():
            account = self.by_attempt.setdefault(attempt_id, Account())
            account.gpus, account.last_s = max(account.gpus, len(ids)), now_s
        self._at_s, self._devices, self._held = now_s, now, dict(held)

    def _book(
        self,
        attempt_id: str,
        ids: Sequence[str],
        elapsed_s: float,
        now: Mapping[str, Device],
        load_w: Mapping[str, float],
    ) -> None:
        account = self.by_attempt.setdefault(attempt_id, Account())
        for device_id in ids:
            before, after = self._devices.get(device_id), now.get(device_id)
            load = load_w.get(device_id, 0.0)
            used = Used(load * elapsed_s, metered=False)
            if before is not None and after is not None:
                used = between(before, after, elapsed_s, load)
            account.joules += used.joules + self._host_share_w * elapsed_s
            account.estimated_joules += 0.0 if used.metered else used.joules

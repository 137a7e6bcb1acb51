"""The rules in force. Adding one: a file beside this one, a line here, a test."""

from policies import (
    accelerator,
    capacity,
    claims,
    deadline,
    green,
    latency,
    maintenance,
    nongreen,
    power,
    preference,
    price,
    quota,
    reachability,
    residency,
    share,
    transfer,
    unplaced,
    waiting,
)
from policies.base import Policy

POLICIES: tuple[Policy, ...] = (
    accelerator.POLICY,
    residency.POLICY,
    latency.POLICY,
    green.POLICY,
    deadline.POLICY,
    transfer.POLICY,
    reachability.POLICY,
    maintenance.POLICY,
    power.POLICY,
    quota.POLICY,
    capacity.POLICY,
    claims.POLICY,
    price.POLICY,
    preference.POLICY,
    nongreen.POLICY,
    waiting.POLICY,
    share.POLICY,
    unplaced.POLICY,
)

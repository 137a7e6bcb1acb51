"""The rules in force. Adding one: a file beside this one, a line here, a test."""

from policies import (
    accelerator,
    capacity,
    claims,
    deadline,
    green,
    latency,
    nongreen,
    power,
    price,
    reachability,
    residency,
    stability,
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
    power.POLICY,
    capacity.POLICY,
    claims.POLICY,
    price.POLICY,
    nongreen.POLICY,
    waiting.POLICY,
    stability.POLICY,
    unplaced.POLICY,
)

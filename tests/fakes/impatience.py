"""Clients that ask again after milliseconds: as often as real ones, without their waiting."""

import json

import pytest

from scheduler.client import channel


def make_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the pauses before a call is made again, and before a connection is."""
    options = dict(channel.OPTIONS)
    config = json.loads(str(options["grpc.service_config"]))
    for method in config["methodConfig"]:
        method["retryPolicy"] |= {"initialBackoff": "0.01s", "maxBackoff": "0.02s"}
    options["grpc.service_config"] = json.dumps(config)
    options["grpc.initial_reconnect_backoff_ms"] = options["grpc.max_reconnect_backoff_ms"] = 100
    monkeypatch.setattr(channel, "OPTIONS", tuple(options.items()))

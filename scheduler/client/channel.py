"""How a channel to the scheduler is opened: trust, token, retries, pings."""

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import grpc

from scheduler.client.settings import SettingsError

# How long a broken watch or log stream waits for the scheduler to come back.
RETURN_TIMEOUT_S = 60.0

# Every call may be repeated: reads change nothing, Submit carries a key, Cancel is final.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)

OPTIONS: Sequence[tuple[str, str | int]] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    # A batch larger than the buffer would not be sent again.
    ("grpc.per_rpc_retry_buffer_size", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A watch may be silent for hours; without pings a dead path would look like a quiet one.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 20),
)


def credentials(tls_ca: Path | None) -> grpc.ChannelCredentials | None:
    """TLS that trusts the authorities of a PEM file; None for plain text.

    Raises:
        SettingsError: the file cannot be read.
    """
    if tls_ca is None:
        return None
    try:
        return grpc.ssl_channel_credentials(tls_ca.read_bytes())
    except OSError as error:
        raise SettingsError(f"tls_ca {tls_ca} cannot be read: {error.strerror}") from error


def metadata(token: str | None, actor: str | None) -> tuple[tuple[str, str], ...]:
    """What every call carries. Headers are ASCII: names in other letters are percent-encoded."""
    told = [("authorization", f"Bearer {token}")] if token else []
    if actor:
        told.append(("westward-actor", quote(actor, safe="@._-+ ")))
    return tuple(told)

"""Logs: coloured lines on a terminal, JSON elsewhere; always on stderr."""

import sys

import structlog


def configure() -> None:
    """Sets structlog up for the process."""
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        # Plain: the default one prints local variables, and with them jobs' secrets.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

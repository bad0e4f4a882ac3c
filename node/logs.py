"""Logs: structlog to standard error, for people or as one JSON object per line.

A logger carries bound context (`component`, `peer`, `height`), so that messages stay constant and can be
searched for. Private keys never come here: `SigningKey` and `Identity` do not show them.
"""

import logging
import sys
from typing import Final, Literal

import structlog

_SHARED: Final[list[structlog.types.Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure_logs(
    *,
    log_format: Literal["console", "json"],
    log_level: Literal["debug", "info", "warning", "error"],
    name: str,
) -> None:
    """Sends all logs of this process, of libraries too, to standard error.

    Args:
        log_format: "console" for people, "json" for machines.
        log_level: least urgent message that is logged.
        name: the node's name, in every line.
    """
    renderer: structlog.types.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[log_level.upper()]
    structlog.configure(
        processors=[*_SHARED, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(node=name)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=_SHARED,
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def get_logger(component: str) -> structlog.typing.FilteringBoundLogger:
    """Returns the logger of a part of the daemon: `mesh`, `replica`, `meter`, ..."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=component)
    return logger

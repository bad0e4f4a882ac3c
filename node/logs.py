"""Logs: structlog to standard error, for people or as one JSON object per line.

A logger carries bound context (`component`, `peer`, `height`), so that messages stay constant and can be
searched for. What libraries log has their name as its component (`asyncio`, `aiohttp`); what Python itself
would print (warnings, exceptions that nobody can catch) has `python`. Private keys never come here: `SigningKey`
and `Identity` do not show them.
"""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Final, Literal, TextIO

import structlog

_SHARED: Final[list[structlog.types.Processor]] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def _naming(node: str) -> structlog.types.Processor:
    """Returns what adds the node to every line, of whichever thread."""

    def add(_: structlog.types.WrappedLogger, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["node"] = node
        return event

    return add


def _name_component(
    _: structlog.types.WrappedLogger, __: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Adds the component to what a library logged: its name."""
    record: logging.LogRecord = event["_record"]
    event.setdefault("component", record.name.partition(".")[0])
    return event


def configure_logs(
    *,
    log_format: Literal["console", "json"],
    log_level: Literal["debug", "info", "warning", "error"],
    node: str,
) -> None:
    """Sends all logs of this process, of libraries too, to standard error.

    Args:
        log_format: "console" for people, "json" for machines.
        log_level: least urgent message that is logged.
        node: the beginning of its address, in every line.
    """
    renderer: structlog.types.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[log_level.upper()]
    shared = [_naming(node), *_SHARED]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[*shared, _name_component],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    _take_from_python()


def _take_from_python() -> None:
    """Logs what Python would print by itself: a line that is no JSON, or that nobody searches for, is lost."""
    log = get_logger("python")

    def warn(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001  (the signature is Python's)
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        log.warning("warning", text=str(message), category=category.__name__, place=f"{filename}:{lineno}")

    def tell_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
        what = unraisable.err_msg or "exception in the end of an object"
        log.error("nobody can catch this", what=what, where=repr(unraisable.object), exc_info=_info(unraisable))

    def tell_thread(failed: "threading.ExceptHookArgs") -> None:
        name = None if failed.thread is None else failed.thread.name
        log.error("a thread ended by an exception", thread=name, exc_info=_info(failed))

    warnings.showwarning = warn
    if not sys.warnoptions:
        warnings.simplefilter("default", ResourceWarning)  # what a daemon leaves open adds up
    sys.unraisablehook = tell_unraisable
    threading.excepthook = tell_thread


def _info(
    failed: "sys.UnraisableHookArgs | threading.ExceptHookArgs",
) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    if failed.exc_value is None:
        return None
    return failed.exc_type, failed.exc_value, failed.exc_traceback


def get_logger(component: str) -> structlog.typing.FilteringBoundLogger:
    """Returns the logger of a part of the daemon: `mesh`, `replica`, `meter`, ..."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=component)
    return logger

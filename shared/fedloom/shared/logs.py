"""Logs as lines for people, or as one JSON object a line, with the run, round and site at hand."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

# Keys that a message may carry beside its words (`extra=`), as any log collector wants them.
_MOST_BYTES = 10_000_000
_FACTS = ("run", "round", "site", "rule")


class JsonFormatter(logging.Formatter):
    """One line of JSON for each message; `always` is in each of them.

    Tracebacks are reduced to the error's kind: an error's own words may quote a record.
    """

    def __init__(self, always: Mapping[str, str]) -> None:
        super().__init__()
        self._always = dict(always)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
        }
        line |= {name: getattr(record, name) for name in _FACTS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        # In ASCII: a file's name need not be text, and no character may end a line.
        return json.dumps(line, default=str)


class LineFormatter(logging.Formatter):
    """One line for each message, for people; of an error its kind, as its words may be private."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatException(self, ei: object) -> str:  # noqa: N802
        """Nothing: a traceback may quote a record."""
        return ""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return super().format(record).rstrip("\n")


def log_for_people() -> None:
    """Send all messages to standard error as lines, without tracebacks."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_as_json(file: Path | None = None, **always: str) -> None:
    """Send FedLoom's own messages as JSON to a file, or to standard output, and nowhere else.

    The file is the owner's alone, and begun anew at 10 MB; three older ones are kept.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if file is not None:
        file.touch(mode=0o600)
        handler = RotatingFileHandler(file, maxBytes=_MOST_BYTES, backupCount=3, encoding="utf-8")
    handler.setFormatter(JsonFormatter(always))
    own = logging.getLogger("fedloom")
    own.handlers = [handler]
    own.setLevel(logging.INFO)
    own.propagate = False

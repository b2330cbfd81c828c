"""Logs as one JSON object a line: time, level, who, what, and the run, round and site at hand."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

# Keys that a message may carry beside its words (`extra=`), as any log collector wants them.
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


def log_as_json(**always: str) -> None:
    """Send FedLoom's own messages to standard output as JSON, in place of any other way."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(always))
    own = logging.getLogger("fedloom")
    own.handlers = [handler]
    own.setLevel(logging.INFO)
    own.propagate = False

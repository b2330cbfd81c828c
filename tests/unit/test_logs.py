"""Logs for machines: one object a line, and no word of a record in any of them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.shared.logs import JsonFormatter, LineFormatter, log_as_json

JANE = "patient Jane Doe"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logs afterwards as they were."""
    own = logging.getLogger("fedloom")
    before = own.handlers, own.level, own.propagate
    yield
    own.handlers, own.level, own.propagate = before


def test_each_message_is_a_line_with_what_is_known_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_as_json(run="ours-1")
    logger = logging.getLogger("fedloom.server")
    logger.info("round %d", 3, extra={"round": 3, "site": "north", "secret": JANE})
    logger.warning("two\nlines")
    logger.debug("not told")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info", "logger": "fedloom.server", "message": "round 3",
        "run": "ours-1", "round": 3, "site": "north",
    }  # fmt: skip
    assert second["message"] == "two\nlines"


def test_an_errors_own_words_stay_out(capsys: pytest.CaptureFixture[str]) -> None:
    log_as_json(run="ours-1")
    logger = logging.getLogger("fedloom.trainer")
    try:
        try:
            raise KeyError(JANE)
        except KeyError as error:
            raise ValueError(JANE) from error
    except ValueError:
        logger.exception("round failed", stack_info=True)
    told = capsys.readouterr()
    assert JANE not in told.out + told.err
    assert "Traceback" not in told.out + told.err
    assert json.loads(told.out)["error"] == "ValueError"


def test_no_error_at_hand_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    log_as_json(run="ours-1")
    logging.getLogger("fedloom").error("x", exc_info=True)
    assert "error" not in json.loads(capsys.readouterr().out)


@given(message=st.text(st.characters(exclude_categories=[])), site=st.text(max_size=3))
def test_whatever_is_said_it_is_one_line_that_reads_back(message: str, site: str) -> None:
    """Line ends of all kinds, and names of files that are no text."""
    record = logging.LogRecord("fedloom", logging.INFO, "x", 1, "%s", (message,), None)
    record.site = site
    line = JsonFormatter({}).format(record)
    assert len(line.splitlines()) == 1
    line.encode("ascii")
    assert json.loads(line)["message"] == message
    assert json.loads(line)["site"] == site


def test_a_fact_that_json_does_not_know_is_told_as_text() -> None:
    record = logging.LogRecord("fedloom", logging.INFO, "x", 1, "m", (), None)
    record.round = {1}
    assert json.loads(JsonFormatter({}).format(record))["round"] == "{1}"


def test_it_takes_the_place_of_other_ways(capsys: pytest.CaptureFixture[str]) -> None:
    log_as_json(run="ours-1")
    root, other = logging.getLogger(), logging.StreamHandler(io.StringIO())
    root.addHandler(other)
    try:
        logging.getLogger("fedloom").info("once")
    finally:
        root.removeHandler(other)
    log_as_json()
    logging.getLogger("fedloom").info("once more")
    assert other.stream.getvalue() == ""
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_lines_for_people_hold_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """An unforeseen error may quote a record in its words, or in the lines that led to it."""
    logger = logging.getLogger("fedloom.people")
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logger.addHandler(handler)
    try:
        raise ValueError("patient 4711 has a cough")
    except ValueError as error:
        logger.error("unexpected %s", type(error).__name__, exc_info=error)
    finally:
        logger.removeHandler(handler)
    said = capsys.readouterr().err
    assert "unexpected ValueError" in said and len(said.splitlines()) == 1
    assert "4711" not in said and "Traceback" not in said

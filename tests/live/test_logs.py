"""The logs of the processes that last."""

import io
import json
import sys

import pytest
import structlog

from backends.real.logging_setup import LogForm, set_up_logs

FORMS: tuple[LogForm, ...] = ("text", "json", "logfmt")


@pytest.mark.parametrize("form", FORMS)
def test_nothing_goes_wrong_because_nobody_reads_the_log(form: LogForm, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    set_up_logs(form)
    log = structlog.get_logger()
    log.info("read", of="it")
    assert "read" in stderr.getvalue()
    stderr.close()
    log.error("not read", of="it")


def test_a_line_is_an_event_with_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "Warning")
    log = structlog.get_logger()
    log.info("of no interest")
    try:
        raise LookupError("nothing there")
    except LookupError:
        log.exception("a fault", node="n1")
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["node"]) == ("a fault", "error", "n1")
    assert "LookupError: nothing there" in event["exception"]
    assert captured.out == ""

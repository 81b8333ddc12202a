"""Errors as one line and an exit code.

0 all is well; 1 what was asked does not hold (a journal that differs); 2 wrong usage or bad input; 3 the machine failed
us (a full disk, a service that does not answer) or the program did (a fault to report); 130 interrupted; 141 nobody
reads stdout any more. `eru workload exec` and `eru lambda` exit with the remote code, and with 255 where there is none.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from eru_sim.output import one_line

OK, FALSE, BAD_INPUT, FAILURE, INTERRUPTED, NO_READER = 0, 1, 2, 3, 130, 141

_OUR_PACKAGES = ("scheduler", "backends", "eru_sim", "traces")
_INPUT_ERRORS = {
    errno.ENOENT: "there is no such file or directory; check the path",
    errno.EISDIR: "is a directory; name a file",
    errno.ENOTDIR: "a part of the path is no directory; check the path",
    errno.EACCES: "no permission; check who may read and write it",
    errno.EPERM: "no permission; check who may read and write it",
    errno.ENAMETOOLONG: "the name is too long",
}
_MACHINE_ERRORS = {
    errno.ENOSPC: "no space left on the device; free some, or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space, or write elsewhere",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EMFILE: "too many open files; raise the limit with ulimit -n",
}


def describe(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the one line for an error."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return INTERRUPTED, "interrupted"
    if hasattr(error, "format_message"):
        return BAD_INPUT, one_line(_usage(error))
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, MemoryError):
        return FAILURE, "out of memory; use a smaller cluster, trace or horizon"
    if _is_for_users(error):
        return getattr(error, "exit_code", BAD_INPUT), one_line(str(error))
    frame = _frame_of_user(error.__traceback__)
    what = type(error).__name__ + (f": {error}" if str(error) else "")
    if frame is not None:
        return BAD_INPUT, one_line(f"{frame}: your code raised {what}; ERU_DEBUG=1 shows the traceback")
    where = _last_frame(error.__traceback__)
    return FAILURE, one_line(
        f"unexpected {what} (at {where}): a fault in eru, please report it with this command; "
        "ERU_DEBUG=1 shows the traceback"
    )


def _is_for_users(error: BaseException) -> bool:
    """Whether the message was written for the user: our own errors, and ValueErrors that our code raised."""
    names = {cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in _OUR_PACKAGES}
    if names & {"EruError", "TraceError", "JournalError", "PolicyError"}:
        return True
    if not isinstance(error, ValueError) or error.__traceback__ is None:
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OUR_PACKAGES


def _of_system(error: OSError) -> tuple[int, str]:
    number = error.errno or 0
    known = {**_INPUT_ERRORS, **_MACHINE_ERRORS}
    reason = known.get(number, error.strerror or str(error) or type(error).__name__)
    name = error.filename
    path = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    return BAD_INPUT if number in _INPUT_ERRORS else FAILURE, one_line(f"{path}: {reason}" if path else reason)


def _usage(error: Any) -> str:
    """Return the line for a command line that cannot be understood, with the closest option and where to look."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "eru"
    given = getattr(error, "option_name", None)
    if given is not None and type(error).__name__ == "NoSuchOption":
        known = _options_of(context)
        close = list(getattr(error, "possibilities", None) or ()) or difflib.get_close_matches(given, known, n=1)
        hint = f"did you mean {sorted(close)[0]}? " if close else ""
        return f"{command}: there is no option {given}; {hint}see '{command} --help'"
    message = str(error.format_message()).rstrip(".")
    end = " " if message.endswith("?") else "; "
    return f"{command}: {message[:1].lower()}{message[1:]}{end}see '{command} --help'"


def _options_of(context: Any) -> Sequence[str]:
    parameters = context.command.params if context is not None else ()
    return [name for parameter in parameters for name in parameter.opts if name.startswith("-")]


def _frame_of_user(trace: TracebackType | None) -> str | None:
    """Return the innermost place in code that is neither ours nor installed, such as a policy's file."""
    places = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(trace)]
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = Path(__file__).resolve().parents[2]
    foreign = [Path(sys.prefix).resolve(), *installed, *(ours / package for package in _OUR_PACKAGES)]
    scripts = Path(sys.argv[0]).resolve() if sys.argv and sys.argv[0] else None
    for path, line in reversed(places):
        if not path.is_file() or path.resolve() == scripts:
            continue
        if not any(path.resolve().is_relative_to(root) for root in foreign):
            return f"{path.name}:{line}"
    return None


def _last_frame(trace: TracebackType | None) -> str:
    """Return the innermost place of our own code."""
    places = [
        f"{frame.f_globals.get('__name__', '?')}:{line}"
        for frame, line in traceback.walk_tb(trace)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OUR_PACKAGES
    ]
    return places[-1] if places else "?"

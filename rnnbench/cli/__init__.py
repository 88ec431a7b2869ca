"""The command line: the only place that prints and exits.

Exit status: 0 fine · 1 rnnbench itself failed · 2 the request is wrong · 3 a regression · 4 what
``--fail-on`` names · 5 nothing comparable, or cases vanished · 6 a case failed or a score became worse ·
130 interrupted (Ctrl-C) · 143 terminated (SIGTERM).
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from types import FrameType

from rnnbench.cli.app import UsageError, app
from rnnbench.escaping import safe


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run in the same good order as Ctrl-C."""


def main() -> None:
    """Entry point of the ``rnnbench`` command. Errors that have a message for people are one line."""
    # deferred: the command modules load only what they need, and --help needs nothing
    from rnnbench.errors import RequestError, RnnbenchError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without × or ÷ must not end a run
    signal.signal(signal.SIGTERM, _terminate)
    atexit.register(_ignore_signals)
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except UsageError as error:
        print(f"rnnbench: {safe(error.format_message())}", file=sys.stderr)
        sys.exit(2)
    except RequestError as error:
        print(f"rnnbench: {safe(error)}", file=sys.stderr)
        sys.exit(2)
    except RnnbenchError as error:
        print(f"rnnbench: {safe(error)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if not _is_deaf(sys.stdout.fileno()):
            raise
        print(f"rnnbench: nothing more can be printed: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python will try once more
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(143 if _terminated else 130)  # between the command's end and that of this function
    except SystemExit as leaving:
        # click knows one kind of interruption only
        sys.exit(143 if _terminated and leaving.code == 130 else leaving.code)


def _is_deaf(descriptor: int) -> bool:
    """A full disk, or a reader that went away."""
    try:
        os.write(descriptor, b"\n")
    except OSError:
        return True
    return False


def _ignore_signals() -> None:
    """Python puts back handlers that kill when it leaves: what is finished would end as if it were not."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


_terminated: list[int] = []


def _terminate(number: int, frame: FrameType | None) -> None:
    _terminated.append(number)
    raise Terminated

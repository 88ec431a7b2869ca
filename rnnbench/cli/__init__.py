"""The command line: the only place that prints and exits.

Exit status: 0 fine · 1 rnnbench itself failed · 2 the request is wrong · 6 a case failed · 130 interrupted.
"""

from __future__ import annotations

import sys

from rnnbench.cli.app import app


def main() -> None:
    """Entry point of the ``rnnbench`` command. Errors that have a message for people are one line."""
    # deferred: the error classes are cheap, the console is not
    from rnnbench.errors import RequestError, RnnbenchError

    try:
        app()
    except RequestError as error:
        print(f"rnnbench: {_plain(str(error))}", file=sys.stderr)
        sys.exit(2)
    except RnnbenchError as error:
        print(f"rnnbench: {_plain(str(error))}", file=sys.stderr)
        sys.exit(1)


def _plain(text: str) -> str:
    """Names come from suites and plugins: what a terminal would obey is shown, not sent."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

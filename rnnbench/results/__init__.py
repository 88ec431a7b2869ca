"""results/<run>/ as files: appended while a run goes on, read back strictly, tabulated, exported.

``open_run`` is the door for whoever looks at a run; ``reading.read`` gives what is stored, no more.
``load`` (``rnnbench.results.tidy``) is not imported here: it needs pandas, and a run does not.
"""

from rnnbench.results.doubts import open_run
from rnnbench.results.reading import RunResults, find_runs, read_run
from rnnbench.results.writing import Writer, create, open_for_resume

__all__ = ["RunResults", "Writer", "create", "find_runs", "open_for_resume", "open_run", "read_run"]

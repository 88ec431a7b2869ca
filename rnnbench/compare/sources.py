"""BASE and HEAD as a person names them: a run, a folder of runs, a zip of one, ``REVISION:path`` in git.

Nothing that is named is changed; what git or a zip holds is unpacked into a folder of the caller's.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from subprocess import TimeoutExpired

from rnnbench.compare.fingerprints import unlike_runs
from rnnbench.errors import RequestError, nearest
from rnnbench.records import Run
from rnnbench.results.reading import BLOCKS, RECORDS, RUN, read_run
from rnnbench.revisions import git

RESULTS = Path("results")
MAX_DEPTH = 4
"""An artifact of CI may have its runs some folders down; a home directory is not searched."""

MAX_UNPACKED_BYTES = 4 << 30
HISTORY_BYTES = 32 << 20
"""Earlier runs tell how much runs differ; more of them than this would cost seconds to read."""


@dataclass(frozen=True, slots=True)
class Located:
    """The runs that a name stands for, oldest first. ``unreadable`` says what was passed over, and why.

    ``lasting`` is False for what was unpacked: nothing is to be written beside it.
    """

    source: str
    runs: tuple[tuple[Path, Run], ...]
    lasting: bool
    unreadable: tuple[str, ...] = ()


def locate(source: str, scratch: Path) -> Located:
    """All runs that ``source`` names; ``scratch`` is an empty folder for what has to be unpacked.

    Raises ``RequestError`` for a name that is neither a path nor a revision with a path, with the nearest
    names, and where no run there can be read.
    """
    path = Path(source)
    if not path.exists() and (RESULTS / source / RUN).exists():
        path = RESULTS / source
    if path.is_dir():
        return _located(source, _runs_below(path), source, lasting=True)
    if zipfile.is_zipfile(path):
        _unpack_zip(path, scratch)
        return _located(source, _runs_below(scratch), source, lasting=False)
    if path.exists():
        raise RequestError("neither a folder nor a zip of a run.", where=source)
    if ":" in source:
        _unpack_revision(source, scratch)
        return _located(source, _runs_below(scratch), source, lasting=False)
    raise RequestError(
        f"no such run, folder or zip. {nearest(source, _names_near(path))} "
        "A baseline in git is REVISION:PATH.",
        where=source,
    )


def newest(located: Located, suite: str = "", *, but: Path | None = None) -> tuple[Path, Run] | None:
    """The run that started last, of ``suite`` if one is given; ``but`` is passed over."""
    fitting = [
        (folder, run)
        for folder, run in located.runs
        if (not suite or run.suite == suite) and (but is None or folder.resolve() != but.resolve())
    ]
    return fitting[-1] if fitting else None


def choose_base(bases: Located, head: Path, run: Run) -> tuple[Path, list[Path]]:
    """What ``head``, a ``run``, is held against: the newest of its suite, else of any, and runs beside it.

    Those tell by how much runs differ. Raises ``RequestError`` where there is none but the head itself.
    """
    found = newest(bases, run.suite, but=head) or newest(bases, but=head)
    if found is None:
        raise RequestError("is the same run as HEAD; name another", where=bases.source)
    return found[0], _earlier_runs(found[0], run, (found[0], head), HISTORY_BYTES)


def _earlier_runs(beside: Path, head: Run, but: Iterable[Path], at_most_bytes: int) -> list[Path]:
    """Runs beside a folder, of the head's suite and on its terms, newest first, as far as they are no burden.

    Empty where fewer than two are found: with the base that is too few to tell by how much runs differ.
    """
    passed = {path.resolve() for path in but}
    runs = [
        (run.started, path)
        for path, run in _readable(entry.parent for entry in beside.resolve().parent.glob(f"*/{RUN}"))
        if run.suite == head.suite and path.resolve() not in passed and not unlike_runs(run, head)
    ]
    found: list[Path] = []
    used = 0
    for _, path in sorted(runs, reverse=True):
        used += sum((path / name).stat().st_size for name in (RECORDS, BLOCKS) if (path / name).exists())
        if used > at_most_bytes:
            break
        found.append(path)
    return found if len(found) > 1 else []


def _located(source: str, folders: Sequence[Path], where: str, *, lasting: bool) -> Located:
    if not folders:
        raise RequestError(f"no run at or below this path (a run has a {RUN}).", where=where)
    runs, unreadable = [], []
    for folder in folders:
        try:
            runs.append((folder, read_run(folder)))
        except RequestError as error:
            unreadable.append(f"passed over: {error}")
            last = error
    if not runs:
        raise last
    runs.sort(key=lambda each: each[1].started)
    return Located(source, tuple(runs), lasting, tuple(unreadable))


def _readable(folders: Iterable[Path]) -> Iterator[tuple[Path, Run]]:
    for folder in folders:
        try:
            yield folder, read_run(folder)
        except RequestError:
            continue


def _runs_below(path: Path) -> list[Path]:
    if (path / RUN).exists():
        return [path]
    for depth in range(1, MAX_DEPTH + 1):
        found = sorted(entry.parent for entry in path.glob("*/" * depth + RUN))
        if found:
            return found
    return []


def _unpack_zip(path: Path, scratch: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = [entry for entry in archive.infolist() if _is_ours(entry.filename)]
            if sum(entry.file_size for entry in wanted) > MAX_UNPACKED_BYTES:
                raise RequestError(
                    "holds more than 4 GiB of results; unpack it and name a run.", where=str(path)
                )
            for entry in wanted:
                archive.extract(entry, scratch)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise RequestError(f"cannot be unpacked: {error}", where=str(path)) from None


def _unpack_revision(source: str, scratch: Path) -> None:
    revision, _, path = source.partition(":")
    here = Path()
    try:
        known = git(here, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if known.returncode != 0:
            raise RequestError(_no_revision(revision), where=source)
        # git reads a path after a revision from the top of the repository, unless it begins with a dot
        inside = path if path.startswith(("./", "../")) or not path else f"./{path}"
        if git(here, "cat-file", "-e", f"{revision}:{inside}").returncode != 0:
            inside = path
        kind = git(here, "cat-file", "-t", f"{revision}:{inside}")
        if kind.returncode != 0 or kind.stdout.strip() != "tree":
            listed = git(here, "ls-tree", "-r", "-d", "--name-only", revision).stdout.splitlines()
            raise RequestError(
                f'no folder "{path}" in {revision}. {nearest(path, listed[:2000])}', where=source
            )
        archive = scratch / "revision.zip"
        packed = git(here, "archive", "--format=zip", f"--output={archive.resolve()}", f"{revision}:{inside}")
        if packed.returncode != 0:
            raise RequestError(f"git archive: {packed.stderr.strip()}", where=source)
    except (OSError, TimeoutExpired) as error:
        raise RequestError(f"git cannot be asked: {error}", where=source) from None
    _unpack_zip(archive, scratch)
    archive.unlink()


def _no_revision(revision: str) -> str:
    if git(Path(), "rev-parse", "--git-dir").returncode != 0:
        return f'no such path, and "{revision}" is no revision: this folder is in no git repository.'
    names = git(Path(), "for-each-ref", "--format=%(refname:short)").stdout.split()
    return f'no such path, and no revision "{revision}". {nearest(revision, [*names, "HEAD"])}'


def _is_ours(name: str) -> bool:
    return PurePosixPath(name).name in (RUN, RECORDS, BLOCKS)


def _names_near(path: Path) -> list[str]:
    folders = (path.parent, RESULTS)
    found = [
        str(entry) if folder == path.parent else entry.name
        for folder in folders
        if folder.is_dir()
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix == ".zip")
    ]
    return sorted(dict.fromkeys(found))[:500]

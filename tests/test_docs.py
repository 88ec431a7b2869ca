"""The documents: commands in them run and say what they show; code is quoted, keys are complete, links hold.

A fenced block is run where the comment before it says what it needs:

    <!-- needs: numpy; add: --set rounds=2 -->    the distribution rnnbench-numpy; options for the test only
    <!-- needs: ; file: mine.yaml -->             the block is written to that file

Blocks of a page run in their order, in one folder, beside a sales.csv and the example plugin. A block whose
distributions are not all installed is left out, so none may build on one that needs more than itself.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from rnnbench.records import STATUSES
from rnnbench.suite.format import AXES, RUN, TRAIN, SuiteFormat
from rnnbench.suite.schema import schema
from rnnbench.tasks.declared import KINDS

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "tests" / "example-plugin" / "rnnbench_example.py"
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md", "results/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
)
FRAMEWORKS = {"torch", "jax", "tensorflow"}

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>needs:[^\n]*) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    line: int
    needs: frozenset[str] | None
    file: str = ""
    add: str = ""


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        note = dict(part.strip().partition(":")[::2] for part in (match["note"] or "").split(";") if part)
        needs = frozenset(note["needs"].split()) if "needs" in note else None
        yield Block(
            match["kind"],
            match["text"],
            text[: match.start()].count("\n") + 1,
            needs,
            note.get("file", "").strip(),
            note.get("add", "").strip(),
        )


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path)
    rng, day = random.Random(1), date(2021, 1, 4)
    rows = [f"{day + timedelta(i)},{100 + 20 * rng.random():.0f},{9 + rng.random():.2f},{i % 5 // 4}"
            for i in range(400)]  # fmt: skip
    (tmp_path / "sales.csv").write_text("\n".join(["date,units,price,promo", *rows]))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.needs is not None for b in blocks(page))], ids=named
)
def test_commands(page: Path, folder: Path) -> None:
    noted = [block for block in blocks(page) if block.needs is not None]
    chosen = [block for block in noted if not missing(block.needs or frozenset())]
    if not chosen:
        pytest.skip(
            "not installed: " + ", ".join(missing(frozenset().union(*(b.needs or () for b in noted))))
        )
    run_blocks(chosen, page, folder)


@pytest.mark.slow
@pytest.mark.framework
def test_the_quick_suite_on_every_backend(folder: Path) -> None:
    if missing(frozenset({"numpy", *FRAMEWORKS})):
        pytest.skip("not all four backends are installed")
    small = "--set train.steps=2 --set train.seeds=1 --set rounds=2 --set measure=train_step,score -k lstm"
    code, said = execute(f"rnnbench run quick {small} --out results/all", folder)
    assert code == 0, said
    for backend in ("numpy", *FRAMEWORKS):
        assert re.search(rf"\b{backend} native\b", said), said
    assert (folder / "results/all/report.html").exists()


def missing(names: frozenset[str]) -> list[str]:
    """Those of rnnbench's distributions that are not installed."""
    found = []
    for name in sorted(names):
        try:
            version(f"rnnbench-{name}")
        except PackageNotFoundError:
            found.append(f"rnnbench-{name}")
    return found


def run_blocks(chosen: list[Block], page: Path, folder: Path) -> None:
    for block in chosen:
        where = f"{named(page)}:{block.line}"
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.kind == "python":
            code, said = execute(f"{shlex.quote(sys.executable)} -c {shlex.quote(block.text)}", folder)
            assert code == 0, f"{where}\n{said}"
        else:
            assert block.kind == "console", where
            for command, shown in commands(block.text):
                code, said = execute(f"{command} {block.add}".strip(), folder)
                refused = shown.startswith("rnnbench: ")
                assert code == (2 if refused else 0), f"{where}: {command}\n{said}"
                assert matches(shown, said), f"{where}: {command}\nshown:\n{shown}\nsaid:\n{said}"


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, output shown) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def execute(command: str, folder: Path) -> tuple[int, str]:
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "COLUMNS": "160",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def matches(shown: str, said: str) -> bool:
    """Whether the output is what is shown; a line "..." is any lines, and "..." within a line any text."""
    pattern = ""
    for line in shown.strip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pattern += r"[^\n]*".join(re.escape(part.rstrip("\n")) for part in line.rstrip().split("..."))
            pattern += r"[ ]*\n"
    return re.fullmatch(pattern, said.strip("\n") + "\n" if said.strip() else "") is not None


@pytest.mark.parametrize(
    ("shown", "said", "expected"),
    [
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nd\n", "a\nd\n", True),
        ("a\n...\nd\n", "a\nb\n", False),
        ("took ... s\n", "took 3.2 s\n", True),
        ("took ... s\n", "took 3.2\n", False),
        ("took (3)\n", "took 33\n", False),
        ("", "", True),
        ("", "a warning\n", False),
    ],
)
def test_output_is_compared(shown: str, said: str, expected: bool) -> None:
    assert matches(shown, said) is expected


def test_every_shown_command_is_run() -> None:
    forgotten = [
        f"{named(page)}:{block.line}"
        for page in PAGES
        for block in blocks(page)
        if block.kind == "console" and block.needs is None
    ]
    assert forgotten == []
    assert sum(block.kind == "console" for page in PAGES for block in blocks(page)) > 8


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    assert broken == []


def test_every_page_is_linked() -> None:
    linked = {(page.parent / link).resolve() for page in PAGES for link in _LINK.findall(page.read_text())}
    missing = [named(page) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in linked
               and page.parent not in linked]  # fmt: skip
    assert missing == []


def test_quoted_code_stands_in_the_example() -> None:
    source = EXAMPLE.read_text()
    quoted = [
        block
        for block in blocks(ROOT / "docs/writing-a-plugin.md")
        if block.kind == "python" and block.needs is None
    ]
    assert [block.line for block in quoted if block.text not in source] == []
    for section in ("cell", "backend", "implementation", "hooks"):
        body = re.split(r"\n\n\n# docs: ", source.split(f"# docs: {section}\n")[1])[0].strip("\n")
        assert any(body in block.text for block in quoted), section


def words_of(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", text))


def test_every_key_of_the_schema_is_explained() -> None:
    explained = words_of(ROOT / "docs/writing-a-suite.md")
    sections, definitions = set(schema()["properties"]), schema()["$defs"]
    assert sections == set(SuiteFormat.model_fields)
    keys = sections | {key for name in definitions for key in definitions[name]["properties"]}
    assert {*AXES, *RUN, *TRAIN, "measure", "score_on", "train"} <= keys
    assert keys - explained == set()
    options = {option for model in KINDS.values() for option in model.model_fields}
    assert {*KINDS, *options} - explained == set()


@pytest.mark.parametrize("key", [*AXES, *RUN, *TRAIN])
def test_bounds_of_the_page_are_those_of_the_format(key: str) -> None:
    setting = {**AXES, **RUN, **TRAIN}[key]
    text = (ROOT / "docs/writing-a-suite.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
    numbers = re.findall(r"\d[\d,]*", setting.allowed) if setting.allowed.startswith("a whole") else []
    assert [number for number in numbers if number not in row.split("|")[3]] == []
    assert [word for word in setting.words if f"`{word}`" not in row] == []


def test_every_status_is_explained() -> None:
    for page in ("README.md", "docs/measuring.md"):
        assert set(STATUSES) - words_of(ROOT / page) == set()


def test_every_finding_is_explained_and_no_other() -> None:
    source = "".join(path.read_text() for path in (ROOT / "rnnbench").rglob("*.py"))
    given = set(re.findall(r'Finding\(\s*"(\w+)"', source))
    section = (ROOT / "docs/measuring.md").read_text().split("## Findings")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == given


def test_every_benchmark_is_in_the_table() -> None:
    table = (ROOT / "docs/performance.md").read_text()
    scripts = [*ROOT.glob("plugins/*/benchmarks/*.py"), *ROOT.glob("benchmarks/test_*.py")]
    assert len(scripts) >= 5
    assert [named(script) for script in scripts if named(script) not in table] == []

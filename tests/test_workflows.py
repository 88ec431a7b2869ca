"""The workflows of docs/ci are held to the schemas of their vendors, their commands to our own options."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from rnnbench.cli.app import app

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "ci"
SCHEMAS = {"github-actions.yml": "vendor.github-workflows", "gitlab-ci.yml": "vendor.gitlab-ci"}


def check(schema: str, file: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "check_jsonschema", "--builtin-schema", schema]
    words += ["--data-transform", "gitlab-ci"] if "gitlab" in schema else []
    return subprocess.run([sys.executable, *words, str(file)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_workflow_is_what_its_vendor_allows(name: str, tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    done = check(SCHEMAS[name], FOLDER / name)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / name
    text = (FOLDER / name).read_text()
    wrong.write_text(text.replace("    steps:", "    stepps:").replace("  script:", "  scripts:"))
    assert check(SCHEMAS[name], wrong).returncode != 0


@pytest.mark.parametrize("name", SCHEMAS)
def test_its_command_is_one_that_rnnbench_takes(name: str) -> None:
    text = (FOLDER / name).read_text()
    YAML(typ="safe").load(text)
    (command,) = re.findall(r"rnnbench (ci .*)", text)
    words = shlex.split(command)
    with get_command(app).make_context("rnnbench", words, resilient_parsing=True):
        pass
    given = {word for word in words if word.startswith("--")}
    known = {option for each in get_command(app).commands["ci"].params for option in each.opts}  # type: ignore[attr-defined]
    assert given <= known
    assert {"--base", "--out"} <= given


def test_every_workflow_is_checked() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(SCHEMAS)

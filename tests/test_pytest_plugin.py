"""``pytest --rnnbench`` as a user types it, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# a pytest within pytest forgets what it imported, and NumPy can be imported once
import rnnbench.proving
import rnnbench.running  # noqa: F401

HERE = Path(__file__).parent
TOY, FAULTY = (str(HERE / name) for name in ("example-plugin/rnnbench_example.py", "faulty_plugin.py"))
SUITE = (
    "axes: {task: [copy], length: [2], cell: [elman, gru], backend: [%s]}\ndefaults: {hidden: 4, batch: 3}\n"
)

pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *words)


def suite(pytester: pytest.Pytester, backends: str) -> str:
    pytester.makefile(".yaml", mine=SUITE % backends)
    return "mine.yaml"


@pytest.mark.slow  # real workers
def test_each_case_is_a_test_and_its_gate_the_assertion(pytester: pytest.Pytester) -> None:
    words = ["--rnnbench", suite(pytester, "toy"), f"--rnnbench-plugin={TOY}", "--junit-xml", "junit.xml"]
    found = run(pytester, *words, "-v")
    found.assert_outcomes(passed=2)
    found.stdout.re_match_lines([r"mine\.yaml::copy-T2-elman-H4-toy-portable-cpu-[0-9a-f]{8} PASSED"])
    assert 'name="worst error / tolerance"' in Path("junit.xml").read_text()


@pytest.mark.slow  # real workers
def test_what_does_not_pass_says_why(pytester: pytest.Pytester) -> None:
    plugins = [f"--rnnbench-plugin={file}" for file in (TOY, FAULTY)]
    words = ["--rnnbench", suite(pytester, "lying, crashing, refusing, toy"), *plugins, "-k", "elman", "-rs"]
    found = run(pytester, *words)
    found.assert_outcomes(passed=1, failed=2, skipped=1, deselected=4)
    found.stdout.fnmatch_lines_random(
        [
            "mismatch: not the function of the float32 reference*",
            "crashed: the worker was killed by SIGABRT during*",
            "SKIPPED*unsupported: not on a Sunday*",
        ]
    )
    assert "Traceback" not in found.stdout.str()


@pytest.mark.slow  # real workers
def test_the_first_failure_ends_it_where_asked(pytester: pytest.Pytester) -> None:
    plugins = [f"--rnnbench-plugin={file}" for file in (TOY, FAULTY)]
    run(pytester, "--rnnbench", suite(pytester, "lying, toy"), *plugins, "-x").assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("axes: {cel: [gru]}", '*mine.yaml:1: axes.cel: *"cell"*'),
        ("axes: [", "*mine.yaml*"),
        ("axes: {task: [copy], length: [2], cell: [gruu]}", '*no cell "gruu". Did you mean "gru"?*'),
    ],
)
def test_a_wrong_suite_is_a_wrong_command_line(text: str, said: str, pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", mine=text)
    found = run(pytester, "--rnnbench", "mine.yaml")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines([f"ERROR: {said}"])
    assert "Traceback" not in found.stdout.str() + found.stderr.str()


def test_a_broken_plugin_is_named(pytester: pytest.Pytester) -> None:
    broken = pytester.makepyfile(broken="import no_such_module")
    found = run(pytester, "--rnnbench", suite(pytester, "tensorflow"), f"--rnnbench-plugin={broken}", "--co")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["ERROR: *broken.py*no_such_module*"])


def test_other_yaml_and_other_tests_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", other="not: a suite")
    pytester.makepyfile("def test_a(): pass")
    run(pytester, "--rnnbench", ".").assert_outcomes(passed=1)
    found = run(pytester, "other.yaml")
    assert "::" not in found.stdout.str()


def test_without_the_option_nothing_is_imported() -> None:
    watch = "import sys, rnnbench.pytest_plugin; print(*(m for m in sys.modules if 'rnnbench' in m))"
    said = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["rnnbench", "rnnbench.pytest_plugin"]

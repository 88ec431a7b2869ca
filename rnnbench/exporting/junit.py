"""Runs as JUnit XML: each case a test case, for the page of tests that every CI server has."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from rnnbench.records import Record, Status
from rnnbench.results.reading import RunResults

OUTCOMES: Mapping[Status, str] = {
    "skipped": "skipped",
    "unsupported": "skipped",
    "mismatch": "failure",
    "diverged": "failure",
    "failed": "error",
    "crashed": "error",
    "timeout": "error",
    "out_of_memory": "error",
}
"""Status -> the element that says so: a wrong result is a failure, no result is an error."""


def junit(runs: Sequence[RunResults]) -> bytes:
    """A test suite for each run, in it a test case for each record.

    ``time`` is the seconds that blocks of the case took. The reason of a case that is not ``ok`` is the
    message of its element, whose ``type`` is the status; findings are properties. XML cannot hold control
    characters at all: they are written as escapes (``\\x07``).
    """
    root = ElementTree.Element("testsuites", name="rnnbench")
    for results in runs:
        _add_suite(root, results)
    ElementTree.indent(root)
    content = io.BytesIO()
    ElementTree.ElementTree(root).write(content, encoding="utf-8", xml_declaration=True)
    return content.getvalue()


def printable(text: object) -> str:
    """Text with every character that XML 1.0 forbids, or that a reader would normalise away, as an escape."""
    return "".join(c if _is_kept(c) else _escaped(c) for c in str(text))


def _add_suite(root: ElementTree.Element, results: RunResults) -> None:
    spent_s: Counter[str] = Counter()
    for block in results.blocks:
        spent_s[block.case] += block.seconds  # type: ignore[assignment]  # typeshed knows counts only
    outcomes = Counter(OUTCOMES.get(record.status, "") for record in results.records)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=printable(results.run.name),
        timestamp=printable(results.run.started),
        tests=str(len(results.records)),
        failures=str(outcomes["failure"]),
        errors=str(outcomes["error"]),
        skipped=str(outcomes["skipped"]),
        time=f"{sum(spent_s.values()):.6f}",
    )
    for record in results.records:
        _add_case(suite, results.run.suite, record, spent_s[record.case.key])


def _add_case(suite: ElementTree.Element, name: str, record: Record, spent_s: float) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=printable(name), name=printable(record.case.key), time=f"{spent_s:.6f}"
    )
    facts = [("status", record.status), ("path", record.path)]
    facts += [(finding.word, finding.text) for finding in record.findings]
    properties = ElementTree.SubElement(case, "properties")
    for word, text in facts:
        ElementTree.SubElement(properties, "property", name=printable(word), value=printable(text))
    if record.status != "ok":
        outcome = ElementTree.SubElement(
            case, OUTCOMES[record.status], type=record.status, message=printable(record.reason)
        )
        outcome.text = printable(f"{record.status}: {record.reason}")


def _is_kept(character: str) -> bool:
    if character in "\ufffe\uffff":
        return False
    return unicodedata.category(character) not in ("Cc", "Cs")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()

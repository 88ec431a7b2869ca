"""What a suite may ask of tasks from sequence to sequence, and of them alone."""

from __future__ import annotations

from collections.abc import Mapping

from rnnbench.contracts import SequenceTask, Task
from rnnbench.records import Case
from rnnbench.suite.loading import Row, Suite

_OF_ENCODERS: Mapping[str, object] = {"residual": False, "norm": "none", "dropout": 0.0, "window": None}
"""Axis -> the one value that a decoder knows."""


def decodes(task: Task) -> bool:
    """Whether the task's networks have a decoder."""
    return isinstance(task, SequenceTask)


def check_decoding(suite: Suite, row: Row, case: Case, tasks: Mapping[str, Task]) -> None:
    """Raise ``RequestError`` for attention without a decoder, and for what a decoder has not."""
    if decodes(tasks[case.task]):
        _check_sequences(suite, row, case)
    elif case.attention != "none":
        able = ", ".join(name for name, task in tasks.items() if decodes(task))
        raise suite.error(
            suite.path_of(row, "attention", case.attention),
            f'{case.attention} needs a decoder, and networks of task "{case.task}" have none. '
            f"Attention is for tasks from sequence to sequence: {able}",
        )
    if case.input_feeding and not case.attention.startswith("luong"):
        raise suite.error(
            suite.path_of(row, "input_feeding", True),
            "input_feeding feeds back what Luong's attention puts out, and a case has attention "
            f"{case.attention}. Give attention luong_dot, luong_general or luong_concat, or exclude the case",
        )


def _check_sequences(suite: Suite, row: Row, case: Case) -> None:
    if case.attention == "luong_dot" and case.bidirectional == "concat":
        raise suite.error(
            suite.path_of(row, "attention", "luong_dot"),
            "luong_dot multiplies outputs of decoder and encoder, which bidirectional concat makes twice as "
            "large. Give luong_general, or bidirectional none or sum",
        )
    for axis, known in _OF_ENCODERS.items():
        given = getattr(case, axis)
        if given != known:
            raise suite.error(
                suite.path_of(row, axis, given),
                f'networks of task "{case.task}" have a decoder, and decoders have no {axis}. Leave it out',
            )
    if case.train.optimizer == "ridge":
        raise suite.error(
            suite.path_of(row, "cell", case.cell),
            f'networks of task "{case.task}" have a decoder, which no ridge regression fits. Give a cell '
            "whose weights are trained, and another optimizer",
        )

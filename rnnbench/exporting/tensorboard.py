"""Learning curves as TensorBoard's event files: by the extra ``rnnbench[tensorboard]``, no framework."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rnnbench.errors import RequestError
from rnnbench.records import Curve, Record, Run, Score
from rnnbench.results.reading import RunResults

_WHERE = "--format tensorboard"
_NAME_LIMIT = 120
FILE = "events.out.tfevents.0.rnnbench"


def tensorboard(runs: Sequence[RunResults], folder: Path) -> int:
    """Write an event file for each seed of each network that was trained, and return how many.

    Scalars ``score/METRIC`` and ``loss`` by step, in ``RUN/CASE/seed-N``; the names of the folder keep
    letters, digits, dots and dashes, and the text ``case`` has the whole key. The clock of an event is the
    run's start and the steps so far × the measured training step, for training itself is not clocked:
    TensorBoard's relative axis is then seconds to a score. Equal results give equal bytes.

    Raises ``RequestError`` without the package, where no record has a curve, and where the folder cannot be
    written.
    """
    curves = [(results.run, _curves(results)) for results in runs]
    if not any(found for _, found in curves):
        raise RequestError("no case of these runs was trained, so there is no curve", where=_WHERE)
    written = 0
    names = Counter[str]()
    try:
        for run, found in curves:
            name = folder_name(run.name)
            names[name] += 1
            of_run = folder / (name if names[name] == 1 else f"{name}-{names[name]}")
            for record, score, curve, step_s in found:
                below = of_run / folder_name(record.case.key) / f"seed-{curve.seed}"
                below.mkdir(parents=True, exist_ok=True)
                # one name, so that a second export replaces the first and no curve is drawn twice
                (below / FILE).write_bytes(_events(run, record, score, curve, step_s))
                written += 1
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    return written


def folder_name(text: str) -> str:
    """A name that every file system and TensorBoard's list of runs take; the end of a long one stays."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII)[-_NAME_LIMIT:].lstrip(".") or "_"


def _curves(results: RunResults) -> list[tuple[Record, Score, Curve, float]]:
    """(record, score, curve, seconds of a training step) of the cases that were trained themselves."""
    estimates = results.estimates
    found = []
    for record in results.records:
        score = record.score
        if score is not None and score.trained_on == record.case.key:
            time = estimates.get((record.case.key, "train_step"))
            step_s = time.value if time is not None else 0.0
            found += [(record, score, curve, step_s) for curve in score.curves]
    return found


def _events(run: Run, record: Record, score: Score, curve: Curve, step_s: float) -> bytes:
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise RequestError(
            f"needs the package tensorboard ({error}). Install it with: pip install 'rnnbench[tensorboard]'",
            where=_WHERE,
        ) from None
    start = datetime.fromisoformat(run.started).timestamp()
    content = io.BytesIO()
    writer = RecordWriter(content)

    def write(step: int, **fields: Any) -> None:
        writer.write(Event(wall_time=start + step * step_s, step=step, **fields).SerializeToString())

    write(0, file_version="brain.Event:2")
    name = TensorProto(
        dtype=DT_STRING,
        string_val=[record.case.key.encode()],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    about = create_summary_metadata(display_name="case", description="")
    write(0, summary=Summary(value=[Summary.Value(tag="case/text_summary", metadata=about, tensor=name)]))
    for step, tag, value in _points(score, curve):
        write(step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
    return content.getvalue()


def _points(score: Score, curve: Curve) -> Iterator[tuple[int, str, float]]:
    for tag, values in ((f"score/{score.metric}", curve.scores), ("loss", curve.loss)):
        yield from ((step, tag, value) for step, value in zip(curve.steps, values, strict=False))

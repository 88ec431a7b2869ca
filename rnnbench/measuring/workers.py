"""The living workers of one pass, by what they are opened with."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType

from rnnbench.contracts import TaskDeclaration
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.process import STOP_LIMIT_S, Worker, WorkerKey
from rnnbench.measuring.protocol import Message
from rnnbench.measuring.refusals import Refused


class Workers:
    """The living workers of one pass; starts what is asked for, once."""

    def __init__(
        self,
        plugin_files: Sequence[str],
        tasks: Sequence[TaskDeclaration],
        *,
        environments: Sequence[Environment] = (),
        pinned: bool = True,
        opened: Callable[[WorkerKey, Message], None] = lambda key, opened: None,
    ) -> None:
        """``environments`` are those beside the present one, which has ``plugin_files``.

        ``opened`` is told what each worker says of itself, before it is asked anything else.
        """
        self._opened = opened
        present = Environment(plugin_files=tuple(plugin_files))
        self._environments = {each.name: each for each in (present, *environments)}
        self._pinned = pinned
        self._tasks = tasks
        self._living: dict[WorkerKey, Worker] = {}
        self._failed: dict[WorkerKey, Refused] = {}
        self._aborted = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # interrupted: one in the middle of a block would not hear "stop" for a while
            self.abort()
        stop_all(self._living.values())
        self._living.clear()

    def of(self, key: WorkerKey) -> Worker:
        """The worker of a key. A backend that cannot be opened is not tried again: Refused each time."""
        if key in self._failed:
            raise self._failed[key].with_traceback(None)
        if key not in self._living:
            try:
                environment = self._environments[key.env]
                worker = Worker(key, environment=environment, tasks=self._tasks, pinned=self._pinned)
                self._living[key] = worker
                if self._aborted:
                    worker.end()
                worker.open()
            except Refused as refused:
                self._living.pop(key, None)
                self._failed[key] = refused
                raise
            self._opened(key, worker.opened)
        return self._living[key]

    def living(self, key: WorkerKey) -> Worker | None:
        """The worker of a key where there is one; starts none."""
        return self._living.get(key)

    def forget(self, key: WorkerKey) -> None:
        """After a WorkerDied: the next ``of`` starts a fresh one."""
        self._living.pop(key, None)

    def abort(self) -> None:
        """Kill all processes without waiting; from any thread. What is being asked ends in WorkerDied."""
        self._aborted = True
        for worker in list(self._living.values()):
            worker.end()


def stop_all(workers: Collection[Worker]) -> None:
    """Stop workers side by side, so that they end in the time of the slowest."""
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + STOP_LIMIT_S
    for worker in workers:
        worker.stop(deadline - time.monotonic())

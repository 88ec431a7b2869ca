"""What the workers of a run say of themselves, under names that a reader knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rnnbench.errors import RequestError
from rnnbench.measuring.launch import Environment
from rnnbench.measuring.process import WorkerKey


class Environments:
    """One for each worker of a plan; a resumed run's must have the versions that it was begun with."""

    def __init__(
        self,
        planned: Collection[WorkerKey],
        earlier: Mapping[str, Mapping[str, Any]],
        environments: Collection[Environment] = (),
    ) -> None:
        """``environments``: those of ``planned``, for what is known of them without asking a worker."""
        self._names = name_workers(planned)
        self._environments = {each.name: each for each in environments}
        self._earlier = earlier
        self._known: dict[str, Mapping[str, Any]] = {}

    def named(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> what its worker said."""
        return dict(self._known)

    def note(self, key: WorkerKey, opened: Mapping[str, Any]) -> bool:
        """Keep what a fresh worker said; whether it is the first of its name.

        Raises ``RequestError`` where its versions are not those of the earlier sitting.
        """
        name, settings = self._names.get(key, key.backend), key.settings
        before = self._earlier.get(name, {}).get("versions", {})
        versions = opened["versions"]
        changed = [
            f"{what} {before.get(what, 'absent')} then, {versions.get(what, 'absent')} now"
            for what in sorted({*before, *versions})
            if before and before.get(what) != versions.get(what)
        ]
        if changed:
            raise RequestError(
                f"{name} is not what this run was begun with: {'; '.join(changed)}. "
                "Install those versions again, or begin a new run."
            )
        first = name not in self._known
        facts = {"device": settings.device, "dtype": settings.dtype, "threads": settings.threads}
        environment = self._environments.get(key.env, Environment())
        where = {"env": key.env, "executable": environment.python, "revision": environment.revision}
        self._known.setdefault(name, {**opened, "backend": key.backend, **facts, **where})
        return first


def name_workers(keys: Collection[WorkerKey]) -> dict[WorkerKey, str]:
    """The backend's name; where a backend has several workers, with that in which they differ."""
    names = {}
    for key in keys:
        others = [other for other in keys if other.backend == key.backend]
        mine = key.settings
        differing = [
            text
            for text, values in (
                (key.env, {other.env for other in others}),
                (mine.device, {other.settings.device for other in others}),
                (mine.dtype, {other.settings.dtype for other in others}),
                (f"threads {mine.threads}", {other.settings.threads for other in others}),
            )
            if len(values) > 1
        ]
        names[key] = ", ".join([key.backend, *differing])
    return names

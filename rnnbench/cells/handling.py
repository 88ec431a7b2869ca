"""What of a network a backend's own layers follow: anything else is refused, never silently left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields

from rnnbench.contracts import NetworkSpec
from rnnbench.errors import Unsupported


def refuse_unknown(
    spec: NetworkSpec, handles: Collection[str], *, by: str, instead: str = "use portable"
) -> None:
    """For every builder of layers that are not those of ``rnnbench.cells``, before anything is built.

    ``handles`` names the fields of ``NetworkSpec`` that these layers follow, beside those without a default,
    which every network has. ``by`` says whose layers they are, in the plural. Raises ``Unsupported`` for
    any other field that is not at its default: one that comes with a later rnnbench is refused too.
    """
    for field in fields(spec):
        given = getattr(spec, field.name)
        if field.default is not MISSING and field.name not in handles and given != field.default:
            raise Unsupported(f"{by} know no {field.name} ({given}); {instead}")

"""Numbers and names as a person reads them. Names come from suites and plugins and may be hostile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from rnnbench.escaping import safe
from rnnbench.records import TIMED, Case, Measure
from rnnbench.stats import Interval

PHASES: dict[Measure, str] = {
    "stream": "one time step",
    "forward": "forward pass",
    "gradients": "forward and backward",
    "train_step": "training step",
}
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
MISSING = "–"


def seconds(value: float | None, unit: str | None = None) -> str:
    """Three digits and a unit; ``unit`` fixes it, so that a column of numbers compares."""
    if value is None or not math.isfinite(value):
        return MISSING if value is None or math.isnan(value) else "∞"
    unit = unit or unit_of([value])
    scale = next(scale for scale, name in UNITS if name == unit)
    return f"{digits(value / scale)} {unit}"


def unit_of(values: Iterable[float]) -> str:
    """The unit in which the smallest of ``values``, of either sign, has a digit before the point."""
    smallest = min((abs(value) for value in values if abs(value) > 0), default=1.0)
    return next((name for scale, name in UNITS if smallest >= scale), "ns")


def digits(value: float | None) -> str:
    """At least three significant digits, never an exponent where a person would write none."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}"
    if abs(value) >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def size(value: float | None) -> str:
    """Bytes in powers of 1024."""
    if value is None:
        return MISSING
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def times(value: float | None) -> str:
    """A ratio."""
    return MISSING if value is None else f"{digits(value)}×"


def at_least(low: float) -> str:
    """A lower bound of a ratio, cut and never rounded up: 1.41×, or, below 1.1, by how much it is above 1."""
    if low < 1.1:
        return f"{math.floor((low - 1) * 1000) / 10:.1f} %"
    return f"{math.floor(low * 100) / 100:.4g}×"


def bounds(interval: Interval | None, unit: str | None = None) -> str:
    """The bounds of a time (``unit`` given) or of a ratio; empty for a screening.

    Bounds that are not usable are said to be so: their digits would pretend knowledge.
    """
    if interval is None or interval.low is None:
        return ""
    if not interval.usable:
        return "too wide to say"
    if unit is None:
        return f"{digits(interval.low)}–{digits(interval.high)}"
    return f"{seconds(interval.low, unit).split()[0]}–{seconds(interval.high, unit)}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """a, b and c."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def moment(text: str) -> str:
    """A time of a run to the minute, in UTC where its zone is known; what is no time stands as it is."""
    try:
        at = datetime.fromisoformat(text)
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else f"{at:%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return safe(text, 40)


def up_to(least: int, most: int | None) -> str:
    """6, or 6 to 20 where it went on until enough was known."""
    return str(least) if most is None else f"{least} to {most}"


def counted(number: int, one: str, many: str = "") -> str:
    """1 case, 2 cases."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def lengths(values: Iterable[int]) -> str:
    """T 20, 50 and 100."""
    return f"T {listed([str(value) for value in sorted(set(values))])}"


def spans(values: Sequence[int], all_values: Sequence[int]) -> str:
    """20 to 200 steps: no length that was measured lies between those named and is not meant.

    >>> spans([20, 50, 100, 500], [20, 50, 100, 200, 500])
    '20 to 100 and 500 steps'
    """
    order = sorted(set(all_values))
    wanted = set(values)
    parts = []
    for inside, run in groupby(order, key=lambda value: value in wanted):
        if inside:
            found = list(run)
            if len(found) > 2:
                parts.append(f"{found[0]} to {found[-1]}")
            else:
                parts += [str(value) for value in found]
    return f"{listed(parts)} steps"


def labels(cases: Sequence[Case]) -> dict[str, str]:
    """Case key -> who computes it: backend and implementation; device and environment where they differ."""
    several = [name for name in ("device", "env") if len({getattr(case, name) for case in cases}) > 1]
    return {
        case.key: safe(
            " ".join([case.backend, case.implementation, *(getattr(case, name) for name in several)]),
            limit=60,
        )
        for case in cases
    }


def phase_of(cases: Iterable[Case]) -> Measure | None:
    """The phase by which cases are ranked: the most that was measured of them."""
    measured = {measure for case in cases for measure in case.measure}
    return next((phase for phase in reversed(TIMED) if phase in measured), None)

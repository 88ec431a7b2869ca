"""A rough guess of what a plan costs in wall time, made before anything is measured.

It knows sizes, not machines: right within a factor of three or so on one ordinary core, and meant for
one question only, whether a plan takes minutes or hours. Budgets are kept by measuring, never by this.
"""

from __future__ import annotations

from collections.abc import Iterable

from rnnbench.planning.plan import Plan
from rnnbench.records import TIMED, Case

IMPORT_S = 5.0
"""A framework, imported in a fresh process."""
BUILD_S = 3.0
"""A case in a fresh process: parity gate, build, first call with its compilation."""
WARM_UP_S = 1.0
BLOCK_S = 0.02
STEP_OVERHEAD_S = 30e-6
"""One time step of one layer and direction: calls, not arithmetic."""
FLOPS_PER_S = 3e10
"""Small matrix products in float32 on one core."""
EVALUATION_BATCHES = 30

_RELATIVE_COST = {"stream": 0.0, "forward": 1.0, "gradients": 3.0, "train_step": 3.3}


def estimate(plan: Plan, *, gates: int = 4) -> float:
    """Seconds: for each backend and process an import; for each case and process building, and each timed
    phase's warm-up and rounds; and for each network that is trained all steps of all seeds.

    ``gates`` stands for every cell's number of gates. With a budget, a run stops there: the smaller holds.
    """
    suite = plan.suite
    imports = len({case.backend for case in plan.cases}) * suite.processes * IMPORT_S
    timing = sum(_timing_s(case, gates, suite.rounds) for case in plan.cases) * suite.processes
    return imports + timing + sum(_training_s(case, gates) for case in _trained(plan))


def _forward_s(case: Case, gates: int) -> float:
    directions = 1 if case.bidirectional == "none" else 2
    products = (
        2 * case.batch * gates * case.hidden * (case.embedding + case.hidden) / (FLOPS_PER_S * case.threads)
    )
    return case.length * case.layers * directions * (STEP_OVERHEAD_S + products)


def _timing_s(case: Case, gates: int, rounds: int) -> float:
    forward_s = _forward_s(case, gates)
    total = BUILD_S
    for phase in TIMED:
        if phase in case.measure:
            call_s = forward_s * _RELATIVE_COST[phase]
            total += max(WARM_UP_S, 10 * call_s) + rounds * (call_s + max(BLOCK_S, call_s))
    return total


def _training_s(case: Case, gates: int) -> float:
    forward_s = _forward_s(case, gates)
    evaluations = -(-case.train.steps // case.train.evaluate_every)
    updates_s = case.train.steps * forward_s * _RELATIVE_COST["train_step"]
    return case.train.seeds * (updates_s + evaluations * EVALUATION_BATCHES * forward_s)


def _trained(plan: Plan) -> Iterable[Case]:
    """The cases whose networks are trained: one of each network, or every one that ``score_on`` names."""
    scored = [case for case in plan.cases if "score" in case.measure]
    score_on = plan.suite.score_on
    if score_on == "all":
        return scored
    if isinstance(score_on, tuple):
        return [case for case in scored if case.backend in score_on]
    return {case.network: case for case in scored}.values()

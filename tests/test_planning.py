"""Plans: laws of the expansion, refusals with their reasons, and every contradiction located."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.errors import RequestError, Unavailable
from rnnbench.planning.estimating import estimate
from rnnbench.planning.plan import Plan, Planned, check, needs_devices, plan
from rnnbench.plugins import BrokenPlugin, Origin, Plugins
from rnnbench.records import Case, Train
from rnnbench.suite.loading import load_suite, parse_suite
from rnnbench.suite.overrides import Overrides


@dataclass(frozen=True)
class FakeCell:
    name: str


@dataclass
class FakeTask:
    name: str
    longest: int = 1000
    asked: tuple[int, ...] = ()

    def prepare(self, length: int) -> None:
        self.asked += (length,)
        if length > self.longest:
            raise RequestError(f"{self.longest} rows give no sequence of {length}")
        if self.name == "absent":
            raise Unavailable("not downloaded. Run: rnnbench fetch absent")
        if self.name == "buggy":
            raise ZeroDivisionError("division by zero")


@dataclass
class FakeBackend:
    name: str
    offers: tuple[str, ...] = ("native", "portable")
    distributions: tuple[str, ...] = ("numpy",)
    asked: int = 0

    def implementations(self, cell: Any) -> tuple[str, ...]:
        self.asked += 1
        if self.name == "buggy":
            raise OSError("no licence")
        return self.offers if cell.name != "exotic" else ()


def plugins(*backends: FakeBackend, tasks: Iterable[FakeTask] = (), broken: tuple[Any, ...] = ()) -> Plugins:
    named = [FakeTask("copy"), FakeTask("adding"), FakeTask("river", longest=90), *tasks]
    return Plugins(
        backends={it.name: it for it in backends or (FakeBackend("numpy"), FakeBackend("torch"))},  # type: ignore[misc]
        cells={name: FakeCell(name) for name in ("elman", "gru", "lstm", "exotic")},  # type: ignore[misc]
        tasks={it.name: it for it in named},  # type: ignore[misc]
        origins={("task", "copy"): Origin("rnnbench", "0.1.0")},
        broken=broken,
    )


BASE = "axes:\n  task: [copy, adding]\n  length: [10, 20]\n  cell: [gru]\n"


def planned(text: str, *, of: Plugins | None = None, **more: Any) -> Plan:
    return plan(parse_suite(text, name="s"), of or plugins(), **more)


def refusal(text: str, *, of: Plugins | None = None, **more: Any) -> str:
    with pytest.raises(RequestError) as error:
        planned(text, of=of, **more)
    return str(error.value)


def pairs(plan: Plan, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(case, name) for name in names) for case in plan.cases]


def test_axes_multiply_and_backends_vary_fastest() -> None:
    found = planned(BASE)
    assert pairs(found, "task", "length", "backend") == [
        (task, length, backend)
        for task in ("copy", "adding") for length in (10, 20) for backend in ("numpy", "torch")
    ]  # fmt: skip
    assert found.cases[0] == Case("copy", 10, "gru", "numpy", "native")
    assert found.refused == ()


def test_every_axis_default_and_section_reaches_the_case() -> None:
    text = """
axes: {task: copy, length: 7, cell: gru, backend: torch, hidden: 3, layers: 2, dtype: float64, threads: 2}
defaults:
  {bidirectional: sum, embedding: 5, batch: 6, init: orthogonal, forget_bias: 2, device: "cuda:1",
   projection: 4, implementation: portable, train: {optimizer: sgd, lr: 1}, measure: [forward]}
"""
    assert planned(text).cases == (
        Case(
            "copy", 7, "gru", "torch", "portable", hidden=3, layers=2, bidirectional="sum",
            embedding=5, batch=6, init="orthogonal", forget_bias=2.0, device="cuda:1",
            dtype="float64", threads=2, projection=4,
            train=Train(optimizer="sgd", lr=1.0), measure=("forward",),
        ),
    )  # fmt: skip


def test_whole_numbers_where_reals_are_meant_give_the_same_key() -> None:
    text = BASE + "defaults: {forget_bias: 1, train: {lr: 1}}"
    whole, real = planned(text), planned(text.replace("1,", "1.0,").replace("1}", "1.0}"))
    assert real.cases[0].train.lr == 1
    assert [case.key for case in whole.cases] == [case.key for case in real.cases]


def test_excluded_rows_leave_the_product_and_included_rows_inherit() -> None:
    found = planned(
        BASE
        + "defaults: {hidden: 5}\n"
        + "exclude: [{task: copy, length: [20]}, {task: adding, backend: torch}]\n"
        + "include: [{task: river, length: [30, 90]}, {length: 20, backend: torch, cell: lstm, hidden: 8}]\n"
    )
    assert pairs(found, "task", "length", "cell", "backend", "hidden") == [
        ("copy", 10, "gru", "numpy", 5), ("copy", 10, "gru", "torch", 5),
        ("adding", 10, "gru", "numpy", 5), ("adding", 20, "gru", "numpy", 5),
        ("river", 30, "gru", "numpy", 5), ("river", 30, "gru", "torch", 5),
        ("river", 90, "gru", "numpy", 5), ("river", 90, "gru", "torch", 5),
        ("copy", 20, "lstm", "torch", 8), ("adding", 20, "lstm", "torch", 8),
    ]  # fmt: skip


def test_a_row_that_repeats_a_case_adds_none() -> None:
    assert (
        planned(BASE + "include: [{length: [10, 30]}]").cases
        == planned(BASE.replace("[10, 20]", "[10, 20]") + "include: [{length: 30}]").cases
    )


names = st.lists(st.sampled_from(["copy", "adding", "river"]), min_size=1, max_size=3, unique=True)
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True)


@st.composite
def products(draw: Any) -> dict[str, Any]:
    return {
        "task": draw(names), "length": draw(sizes), "cell": draw(st.permutations(["gru", "lstm"])),
        "hidden": draw(sizes), "backend": draw(st.permutations(["numpy", "torch"])),
        "implementation": draw(st.permutations(["native", "portable"])),
    }  # fmt: skip


def written(axes: dict[str, Any], **sections: Any) -> str:
    return json.dumps({"axes": axes, **sections})


@given(products(), st.data())
@settings(max_examples=25, deadline=None)
def test_the_count_is_the_product_minus_what_is_excluded(axes: dict[str, Any], data: Any) -> None:
    out = {
        axis: data.draw(st.sampled_from(axes[axis])) for axis in data.draw(st.sets(st.sampled_from([*axes])))
    }
    exclude = [out] if out else []
    total = math.prod(len(values) for values in axes.values())
    gone = math.prod(len(values) for axis, values in axes.items() if axis not in out) if out else 0
    if total == gone:
        assert refusal(written(axes, exclude=exclude)).endswith(
            "takes out every case; nothing is left to measure"
        )
        return
    cases = planned(written(axes, exclude=exclude)).cases
    assert len(cases) == total - gone
    assert len({case.key for case in cases}) == len(cases)
    assert (
        not any(all(getattr(case, axis) == value for axis, value in out.items()) for case in cases) or not out
    )


@given(products(), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_order_of_axes_and_values_changes_no_case(axes: dict[str, Any], random: Any) -> None:
    keys = list(axes)
    random.shuffle(keys)
    turned = {key: random.sample(axes[key], len(axes[key])) for key in keys}
    one, other = planned(written(axes)), planned(written(turned))
    assert set(one.cases) == set(other.cases)
    assert len(one.cases) == len(other.cases)


@given(products(), products())
@settings(max_examples=25, deadline=None)
def test_an_include_row_adds_exactly_its_own_product(axes: dict[str, Any], row: dict[str, Any]) -> None:
    both = planned(written(axes, include=[row])).cases
    assert set(both) == {*planned(written(axes)).cases, *planned(written(row)).cases}
    assert len(both) == len(set(both))


def test_an_unnamed_implementation_is_the_preferred_one() -> None:
    mine = replace(
        plugins(FakeBackend("numpy", ("native", "portable")), FakeBackend("jax", ("portable",))),
        implementations={("jax", "gru", "mine"): object()},  # type: ignore[dict-item]
    )
    assert pairs(planned(BASE, of=mine), "backend", "implementation")[:2] == [
        ("numpy", "native"),
        ("jax", "portable"),
    ]
    several = planned(BASE + "  implementation: [portable, mine]\n", of=mine)
    assert pairs(several, "backend", "implementation")[:3] == [
        ("numpy", "portable"), ("jax", "portable"), ("jax", "mine"),
    ]  # fmt: skip
    assert several.refused[0].reason == "numpy has no mine implementation of gru; it has: native, portable"


def one_refused(text: str, of: Plugins, **more: Any) -> Planned:
    found = planned(text, of=of, **more)
    assert found.cases == ()
    return found.refused[0]


def test_what_a_backend_cannot_is_planned_as_unsupported() -> None:
    of = plugins(FakeBackend("jax", ("portable",)))
    case, status, reason = one_refused(BASE + "  implementation: native\n", of)
    assert (case.backend, case.implementation, status) == ("jax", "native", "unsupported")
    assert reason == "jax has no native implementation of gru; it has: portable"
    case, status, reason = one_refused(BASE.replace("gru", "exotic"), of)
    assert (case.implementation, status) == ("portable", "unsupported")
    assert reason == "jax has no portable implementation of exotic; it has: none"


def test_what_is_not_installed_is_planned_as_skipped_with_the_command() -> None:
    of = plugins(
        FakeBackend("tensorflow", distributions=("no-such-flow", "no-such-flow-cpu")), FakeBackend("numpy")
    )
    found = planned(BASE + "  backend: [tensorflow, torch, numpy]\n", of=of)
    assert {case.backend for case in found.cases} == {"numpy"}
    assert [(it.case.backend, it.status, it.reason) for it in found.refused[:2]] == [
        ("tensorflow", "skipped", "no-such-flow or no-such-flow-cpu is not installed. "
         "Install it with: pip install no-such-flow"),
        ("torch", "skipped", '"torch" is not installed. Install it with: pip install rnnbench-torch'),
    ]  # fmt: skip
    assert {case.backend for case in planned(BASE, of=of).cases} == {"numpy"}, "not named: only the installed"


def test_a_broken_plugin_fails_its_own_cases_only() -> None:
    of = plugins(FakeBackend("numpy"), broken=(BrokenPlugin("torch", "rnnbench-torch", "ImportError: x"),))
    found = planned(BASE + "  backend: [numpy, torch]\n", of=of)
    assert len(found.cases) == len(found.refused) == 4
    assert found.refused[0][1:] == ("failed", "plugin rnnbench-torch is broken: ImportError: x")
    found = planned(BASE, of=plugins(FakeBackend("numpy"), FakeBackend("buggy")))
    assert {case.backend for case in found.cases} == {"numpy"}
    assert found.refused[0].status == "failed"
    assert found.refused[0].reason.endswith('of backend "buggy" raised OSError: no licence')


def test_device_words_become_devices() -> None:
    devices = {"numpy": ("cpu",), "torch": ("cpu", "cuda", "cuda:1")}

    def found(word: str, devices: Any) -> list[tuple[Any, ...]]:
        text = BASE.replace("[10, 20]", "10").replace("[copy, adding]", "copy") + f"  device: {word}\n"
        return pairs(planned(text, devices=devices), "backend", "device")

    assert found("auto", devices) == [("numpy", "cpu"), ("torch", "cuda")]
    assert found("[auto, cpu]", devices) == [("numpy", "cpu"), ("torch", "cuda"), ("torch", "cpu")]
    assert found("all", devices) == [("numpy", "cpu"), *(("torch", it) for it in devices["torch"])]
    assert found("cuda", devices) == [("torch", "cuda")]
    assert found("auto", None) == [("numpy", "cpu"), ("torch", "cpu")]
    assert found("cuda", None) == [("numpy", "cuda"), ("torch", "cuda")]
    assert planned(BASE + "  device: [auto, all]\n").assumed == ("auto", "all")
    assert planned(BASE + "  device: auto\n", devices=devices).assumed == ()
    refused = planned(BASE + "  device: cuda\n", devices=devices).refused[0]
    assert refused[1:] == ("skipped", "numpy has no device cuda here; it has: cpu")
    assert refused.case.device == "cuda"


def test_devices_are_asked_for_only_where_they_matter() -> None:
    suite = parse_suite(BASE)
    assert not needs_devices(suite)
    assert needs_devices(suite, Overrides(device="auto"))
    assert needs_devices(parse_suite(BASE + "defaults: {device: all}"))
    assert needs_devices(parse_suite(BASE + "include: [{device: [cpu, cuda]}]"))
    assert not needs_devices(parse_suite(BASE + "  device: cpu\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE.replace("adding", "adding2"),
         's.yaml:2: axes.task[1]: no task "adding2". Did you mean "adding"?'),
        (BASE.replace("[gru]", "grru"), 's.yaml:4: axes.cell: no cell "grru". Did you mean "gru"?'),
        (BASE + "  backend:\n    - torch\n    - tensorflwo\n",
         's.yaml:7: axes.backend[1]: no backend "tensorflwo". Did you mean "tensorflow"?'),
        (BASE + "  implementation: natve\n",
         's.yaml:5: axes.implementation: no implementation "natve". Did you mean "native"?'),
        (BASE + "defaults: {backend: torhc}",
         's.yaml:5: defaults.backend: no backend "torhc". Did you mean "torch"?'),
        (BASE + "include: [{task: rivr}]",
         's.yaml:5: include[0].task: no task "rivr". Did you mean "river"?'),
        (BASE + "exclude: [{cell: [gru, lstn]}]",
         's.yaml:5: exclude[0].cell[1]: no cell "lstn". Did you mean "lstm"?'),
        (BASE + "exclude: [{length: [10, 400]}]",
         "s.yaml:5: exclude[0].length[1]: no case of axes has 400 here. Allowed: 10, 20."),
        (BASE + "exclude: [{cell: lstm}]",
         's.yaml:5: exclude[0].cell: no case of axes has "lstm" here. Allowed: gru.'),
        (BASE + "exclude: [{hidden: 64}]",
         "s.yaml:5: exclude: takes out every case; nothing is left to measure"),
        (BASE + "defaults: {score_on: [torch, jax]}",
         's.yaml:5: defaults.score_on[1]: no case runs on backend "jax". '
         "Allowed: all, fastest, numpy, torch."),
        ("axes: {length: 5, cell: gru}", "s.yaml:1: axes.task: is missing. Allowed: adding, copy, river."),
        ("axes: {task: copy, cell: gru}", "s.yaml:1: axes.length: is missing. Give [20, 100], say."),
        ("axes: {}", "s.yaml:1: axes.task: is missing. Allowed: adding, copy, river."),
        (BASE + f"  hidden: {[*range(1, 400)]}\n  batch: {[*range(1, 400)]}\n",
         "s.yaml:1: axes: 1,273,608 cases, before exclude. A plan has at most 100,000; shorten an axis"),
        ("tasks: {copy: {kind: copy}}\n" + BASE,
         "s.yaml:1: tasks.copy: rnnbench 0.1.0 has a task of this name already; choose another"),
    ],
)  # fmt: skip
def test_a_suite_that_cannot_be_meant_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def test_where_plugins_are_broken_an_unknown_name_says_so() -> None:
    of = plugins(FakeBackend("numpy"), broken=(BrokenPlugin("more", "rnnbench-more", "OSError: x"),))
    message = refusal(BASE.replace("gru", "mgu"), of=of)
    assert message.startswith('s.yaml:4: axes.cell[0]: no cell "mgu". Did you mean "gru"? ')
    assert message.endswith(" Broken plugins: rnnbench-more (OSError: x)")


def test_without_any_backend_the_way_to_one_is_shown() -> None:
    message = "s.yaml:1: axes.backend: no backend is installed. Install one with: pip install rnnbench-torch"
    assert refusal(BASE, of=plugins(FakeBackend("x", distributions=("no-such-dist",)))) == message


def test_the_command_line_is_applied_before_planning() -> None:
    found = planned(
        BASE + "exclude: [{length: 20, task: copy}]\n",
        overrides=Overrides(("length=30,40", "train.steps=5"), ("torch",), ("lstm",), select="-T30-"),
    )
    assert pairs(found, "task", "length", "cell", "backend") == [
        ("copy", 30, "lstm", "torch"), ("adding", 30, "lstm", "torch"),
    ]  # fmt: skip
    assert found.suite.train.steps == 5
    assert found.lengths.keys() == {("copy", 30), ("adding", 30)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(backends=("torhc",)), '--backend torhc: no backend "torhc". Did you mean "torch"?'),
        (Overrides(cells=("gru", "lstn")), '--cell gru,lstn: no cell "lstn". Did you mean "lstm"?'),
        (Overrides(("task=rivr",)), '--set task=rivr: no task "rivr". Did you mean "river"?'),
    ],
)
def test_an_unknown_name_on_the_command_line_is_refused(overrides: Overrides, message: str) -> None:
    assert refusal(BASE, overrides=overrides) == message


def test_a_filter_that_matches_nothing_shows_a_key() -> None:
    first = planned(BASE).cases[0].key
    message = f"-k xyz: none of 8 cases has this in its key, such as {first}"
    assert refusal(BASE, overrides=Overrides(select="xyz")) == message


def test_declared_tasks_are_planned_without_being_named(tmp_path: Path) -> None:
    text = "tasks: {mine: {kind: copy, symbols: 3}}\naxes: {length: 4, cell: gru, backend: numpy}\n"
    found = planned(text)
    assert pairs(found, "task", "length") == [("mine", 4)]
    assert found.tasks["mine"].prepare(4).shape.metric
    assert found.suite.tasks["mine"].options == {"symbols": 3}


def test_checking_a_plan_prepares_each_length_of_each_task_once() -> None:
    of = plugins()
    found = planned(BASE + "  hidden: [1, 2, 3]\n", of=of)
    assert of.tasks["copy"].asked == ()  # type: ignore[attr-defined]
    assert check(found) == found
    assert of.tasks["copy"].asked == (10, 20)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (BASE + "include:\n  - task: river\n    length: [30, 91]\n", "s.yaml:7: include[0].length[1]"),
        (
            BASE.replace("[10, 20]", "\n    - 20\n    - 91").replace("copy", "river"),
            "s.yaml:5: axes.length[1]",
        ),
        ("axes: {task: river, cell: gru}\ndefaults: {length: 91}\n", "s.yaml:2: defaults.length"),
    ],
)
def test_a_length_that_data_cannot_give_is_refused_at_its_line(text: str, place: str) -> None:
    with pytest.raises(RequestError) as error:
        check(planned(text))
    assert str(error.value) == f'{place}: task "river" at length 91: 90 rows give no sequence of 91'


def test_a_length_of_the_command_line_is_refused_by_its_option() -> None:
    found = planned(BASE.replace("copy", "river"), overrides=Overrides(("length=91",)))
    with pytest.raises(RequestError, match=r'^--set length=91: task "river" at length 91: 90 rows'):
        check(found)


def test_data_that_is_not_here_skips_its_cases_only() -> None:
    of = plugins(tasks=(FakeTask("absent"), FakeTask("buggy")))
    found = check(planned(BASE.replace("adding", "absent, buggy"), of=of))
    assert {case.task for case in found.cases} == {"copy"}
    reasons = {it.case.task: (it.status, it.reason) for it in found.refused}
    assert reasons == {
        "absent": ("skipped", "not downloaded. Run: rnnbench fetch absent"),
        "buggy": ("failed", 'task "buggy": ZeroDivisionError: division by zero'),
    }


def test_many_cases_ask_each_backend_once() -> None:
    numpy = FakeBackend("numpy")
    numbers = [*range(1, 22)]
    found = planned(
        BASE + f"  hidden: {numbers}\n  batch: {numbers}\n  layers: [1, 2, 3]\n", of=plugins(numpy)
    )
    assert len(found.cases) == len({case.key for case in found.cases}) == 4 * 21 * 21 * 3
    assert numpy.asked <= 10, "a few times for each cell, not for each case"


def test_an_estimate_grows_with_what_is_asked_for() -> None:
    def seconds(text: str) -> float:
        return estimate(planned(BASE + text))

    base = seconds("defaults: {train: {steps: 500, seeds: 3}}")
    assert seconds("defaults: {measure: [forward]}") < base
    assert seconds("defaults: {train: {steps: 5000, seeds: 3}}") > 2 * base
    assert seconds("defaults: {train: {steps: 500, seeds: 3}, processes: 6}") > base
    assert seconds("defaults: {train: {steps: 500, seeds: 3}, score_on: all}") > base
    assert seconds("defaults: {score_on: [torch]}") == pytest.approx(base)
    refused = planned(BASE + "  backend: [jax]\n", of=plugins(FakeBackend("numpy")))
    assert estimate(refused) == 0


@pytest.mark.parametrize("name", ["quick", "long_deps", "sentiment", "forecasting"])
def test_shipped_suites_are_planned(name: str) -> None:
    backends = [FakeBackend(it) for it in ("numpy", "torch", "jax", "tensorflow")]
    others = [FakeTask(it) for it in ("sentiment", "weather", "co2", "stocks")]
    found = plan(load_suite(name), plugins(*backends, tasks=others))
    assert found.refused == ()
    assert {case.backend for case in found.cases} == {"numpy", "torch", "jax", "tensorflow"}
    if name == "quick":
        assert 8 <= len(found.cases) <= 12
        assert estimate(found) <= 180

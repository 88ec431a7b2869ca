"""What the command line changes in a suite, and every option that is refused."""

from __future__ import annotations

import pytest
from test_suite import AXES_TEXT, BUDGET, DECLARED, HIDDEN

from rnnbench.errors import RequestError
from rnnbench.records import Train
from rnnbench.suite.loading import parse_suite
from rnnbench.suite.overrides import Overrides, override


def test_settings_of_the_command_line_replace_those_of_the_suite() -> None:
    suite = parse_suite(AXES_TEXT + "defaults: {hidden: 5, train: {steps: 10, lr: 0.5}}\n")
    asked = (
        "hidden=32,64",
        "train.steps=1e1",
        "rounds=4",
        "measure=forward,score",
        "score_on=torch",
        "about=a, b",
    )
    with pytest.raises(
        RequestError, match=r"^--set train.steps=1e1: 10.0 is not allowed. Give a whole number"
    ):
        override(suite, Overrides(settings=asked))
    changed = override(suite, Overrides(settings=(*asked[:1], "train.steps=50", *asked[2:]), budget="90 s"))
    assert changed.axes.values["hidden"] == (32, 64)
    assert "hidden" not in changed.defaults
    assert changed.train == Train(steps=50, lr=0.5, evaluate_every=50)
    assert (changed.rounds, changed.measure, changed.score_on) == (4, ("forward", "score"), ("torch",))
    assert (changed.about, changed.budget_s) == ("a, b", 90)
    assert suite.defaults == {"hidden": 5}, "the suite itself stays as it was"


def test_an_axis_of_the_command_line_narrows_included_rows() -> None:
    suite = parse_suite(
        AXES_TEXT + "include: [{cell: [lstm, gru], length: 3}, {cell: elman, length: 4}, {length: 5}]"
    )
    changed = override(suite, Overrides(cells=("lstm", "mgu")))
    assert changed.axes.values["cell"] == ("lstm", "mgu")
    assert [(row.path[1], row.values) for row in changed.include] == [
        (0, {"length": (3,), "cell": ("lstm",)}),
        (2, {"length": (5,)}),
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(settings=("hidden",)),
         "--set hidden: is not KEY=VALUE, such as hidden=32,64 or train.steps=50"),
        (Overrides(settings=("hiden=3",)), '--set hiden=3: no key "hiden". Did you mean "hidden"?'),
        (Overrides(settings=("train.step=3",)),
         '--set train.step=3: no key "train.step". Did you mean "train.steps"?'),
        (Overrides(settings=("hidden=0",)), f"--set hidden=0: 0 is not allowed. {HIDDEN}"),
        (Overrides(settings=("hidden=8,8",)), "--set hidden=8,8: 8 is given twice"),
        (Overrides(settings=("rounds=3,4",)), "--set rounds=3,4: a list is not allowed. "
         "Give a whole number from 1 to 1,000."),
        (Overrides(settings=("cell=gru",), cells=("lstm",)),
         "--cell lstm: cell is given twice on the command line"),
        (Overrides(budget="soon"), f'--budget soon: "soon" is not allowed. {BUDGET}'),
        (Overrides(device="GPU!"), '--device GPU!: "GPU!" is not allowed. '
         "Give auto, all, cpu, or what a backend reports (cuda, cuda:1, ...)."),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused_by_its_name(overrides: Overrides, message: str) -> None:
    with pytest.raises(RequestError) as error:
        override(parse_suite(AXES_TEXT), overrides)
    assert str(error.value) == message


def test_options_of_a_declared_task_can_be_set() -> None:
    suite = parse_suite(DECLARED)
    assert (
        override(suite, Overrides(settings=("tasks.sales.horizon=3",))).tasks["sales"].options["horizon"] == 3
    )
    with pytest.raises(RequestError, match=r"^--set tasks.sales.horizon=x: "):
        override(suite, Overrides(settings=("tasks.sales.horizon=x",)))

"""The commands and their options. Each imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rnnbench.choices import Attention, Merge, Norm, Readout

UsageError: Any = typer.BadParameter.__bases__[0]
"""What click raises for a wrong command line; typer has it under its own roof or click's, by version."""

app = typer.Typer(
    name="rnnbench",
    help="Which recurrent network, in which framework, on this machine: proven equal, timed and scored.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A file, or the name of a shipped suite.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the suite: hidden=32,64 or train.steps=50."),
]
BackendOption = Annotated[
    list[str] | None, typer.Option("--backend", help="These backends, in place of the suite's or of all.")
]
CellOption = Annotated[
    list[str] | None, typer.Option("--cell", help="These cells, in place of the suite's or of all.")
]
SelectOption = Annotated[str, typer.Option("-k", metavar="TEXT", help="Only cases whose key contains TEXT.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ... or all.")]
BudgetOption = Annotated[str, typer.Option("--budget", metavar="TIME", help='Such as "10 min".')]
PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a plugin from a file.")
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=PYTHON", help="Another interpreter, measured beside this one."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the run; default: ./results/<name>.")
]
ResumeOption = Annotated[
    Path | None, typer.Option("--resume", metavar="RUN", help="Go on with an unfinished run.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RunsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[RUN]...", help="Folders of runs; default: the newest one.")
]


Listed = Literal["backends", "cells", "tasks", "suites"]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Options that stand before a command."""
    if version:
        import rnnbench

        print(f"rnnbench {rnnbench.__version__}")
        raise typer.Exit


@app.command()
def run(
    suite: SuiteArgument,
    settings: SetOption = None,
    backend: BackendOption = None,
    cell: CellOption = None,
    select: SelectOption = "",
    device: DeviceOption = "",
    budget: BudgetOption = "",
    env: EnvOption = None,
    plugin: PluginOption = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a suite: prove the networks equal, time them in turns, train them, write a report."""
    from rnnbench.cli import measuring

    request = _request(settings, backend, cell, select, device, budget, plugin, env)
    raise typer.Exit(measuring.run(suite, request, out=out, resume=resume, json=json, command=sys.argv[1:]))


@app.command()
def plan(
    suite: SuiteArgument,
    settings: SetOption = None,
    backend: BackendOption = None,
    cell: CellOption = None,
    select: SelectOption = "",
    device: DeviceOption = "",
    budget: BudgetOption = "",
    env: EnvOption = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Show the cases of a suite, their number and a rough estimate of the time. Measures nothing."""
    from rnnbench.cli import measuring

    request = _request(settings, backend, cell, select, device, budget, plugin, env)
    measuring.show_plan(suite, request, json=json)


@app.command()
def bench(
    cells: Annotated[list[str] | None, typer.Argument(metavar="[CELL]...", help="Default: lstm.")] = None,
    batch: Annotated[int, typer.Option("-B", "--batch", help="Sequences in a batch.")] = 32,
    length: Annotated[int, typer.Option("-T", "--length", help="Time steps.")] = 100,
    hidden: Annotated[int, typer.Option("-H", "--hidden", help="Hidden units.")] = 128,
    features: Annotated[int, typer.Option("-I", "--input", help="Input features.")] = 64,
    threads: Annotated[int, typer.Option("--threads", help="Cores that each worker is pinned to.")] = 1,
    processes: Annotated[int, typer.Option("--processes", help="Fresh processes; below 2 no interval.")] = 3,
    backend: BackendOption = None,
    device: DeviceOption = "",
    env: EnvOption = None,
    plugin: PluginOption = None,
    save_suite: Annotated[
        Path | None, typer.Option("--save-suite", metavar="FILE", help="Write the suite that this is.")
    ] = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    json: JsonOption = False,
) -> None:
    """How fast is an LSTM here, on everything installed? No suite needed."""
    from rnnbench.cli import measuring

    text, options = measuring.bench_suite(
        cells or ["lstm"], batch, length, hidden, features, threads=threads, processes=processes
    )
    request = _request(None, backend, None, "", device, "", plugin, env)
    raise typer.Exit(
        measuring.bench(
            text,
            options,
            request,
            save_suite=save_suite,
            out=out,
            resume=resume,
            json=json,
            command=sys.argv[1:],
        )
    )


@app.command()
def verify(
    every: Annotated[bool, typer.Option("--all", help="The whole matrix; minutes.")] = False,
    cell: CellOption = None,
    backend: BackendOption = None,
    implementation: Annotated[
        list[str] | None,
        typer.Option("--implementation", help="These; default: native, portable and scan."),
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="float64 or float32; default: both.")
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option("--expect", metavar="FILE", help="Exactly what this table says may be unsupported."),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Prove that every implementation computes the same function as the float64 reference."""
    from rnnbench.cli import looking

    raise typer.Exit(
        looking.verify(
            every,
            cells=_split(cell),
            backends=_split(backend),
            implementations=_split(implementation),
            dtypes=_split(dtype),
            expect=expect,
            plugin_files=plugin or [],
            json=json,
        )
    )


@app.command()
def compare(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="A run, a folder or zip of runs, or REVISION:PATH in git.")
    ],
    head: Annotated[
        str | None, typer.Argument(metavar="[HEAD]", help="The same; default: the newest run in ./results.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="AXIS", help="Compare within one run: backend, env, cell, ...")
    ] = "",
    value: Annotated[str, typer.Option("--base", metavar="VALUE", help="The axis's value to beat.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Across machines and versions too.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", help="Exit with 4 for these too: suspect, inconclusive, incomparable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where verdict.json goes; default: beside HEAD.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """A verdict for each case of two runs, or of two sides of one; exits with 3 for a regression."""
    from rnnbench.cli import comparing

    asked = comparing.Asked(by, value, force, _split(fail_on), out, json)
    raise typer.Exit(comparing.compare(base, head, asked))


@app.command()
def ci(
    suite: SuiteArgument,
    base: Annotated[
        str, typer.Option("--base", metavar="REV", help="The revision to compare with, such as origin/main.")
    ],
    head: Annotated[
        str, typer.Option("--head", metavar="REV", help="The revision to judge; default: the working tree.")
    ] = "",
    install: Annotated[
        str, typer.Option("--install", metavar="COMMAND", help="Run in each checkout, to build what must be.")
    ] = "",
    settings: SetOption = None,
    backend: BackendOption = None,
    cell: CellOption = None,
    select: SelectOption = "",
    device: DeviceOption = "",
    budget: BudgetOption = "",
    plugin: PluginOption = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", help="Exit with 4 for these too: inconclusive, incomparable."),
    ] = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Measure two revisions of the project here in turns; exits with 3 for a confirmed regression."""
    from rnnbench.ci.revising import Revisions
    from rnnbench.cli import ci as gate

    request = _request(settings, backend, cell, select, device, budget, plugin, None)
    asked = gate.Asked(Revisions(base, head, install), _split(fail_on), out, json)
    raise typer.Exit(gate.ci(suite, request, asked, command=sys.argv[1:]))


@app.command("list")
def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """List backends (with versions and devices), cells, tasks or suites, and why something is unavailable."""
    from rnnbench.cli import looking

    looking.list_(what, plugin or [], json=json)


@app.command()
def describe(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="See rnnbench list cells.")],
    features: Annotated[int, typer.Option("-I", "--input", min=1, help="Input features, or embedding.")] = 64,
    hidden: Annotated[int, typer.Option("-H", "--hidden", min=1, help="Hidden units.")] = 128,
    output: Annotated[int, typer.Option("--output", min=1, help="Outputs of the head.")] = 10,
    vocab: Annotated[int | None, typer.Option("--vocab", min=1, help="Tokens; inputs are embedded.")] = None,
    layers: Annotated[int, typer.Option("--layers", min=1, max=64, help="Stacked layers.")] = 1,
    bidirectional: Annotated[Merge, typer.Option("--bidirectional", help="Merge.")] = "none",
    projection: Annotated[
        int | None,
        typer.Option("--projection", min=1, help="Projected output features, where a cell has them."),
    ] = None,
    norm: Annotated[Norm, typer.Option("--norm", help="Of each layer's output.")] = "none",
    readout: Annotated[Readout, typer.Option("--readout", help="The last valid step, or each.")] = "last",
    attention: Annotated[
        Attention | None, typer.Option("--attention", help="With a decoder, and what it attends with.")
    ] = None,
    input_feeding: Annotated[
        bool, typer.Option("--input-feeding", help="What Luong's attention says is read at the next step.")
    ] = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """A cell's equations, the shapes and parameters of a network of it, and what each backend runs."""
    from rnnbench.cli import describing
    from rnnbench.contracts import DecoderSpec, NetworkSpec
    from rnnbench.errors import RequestError

    if input_feeding and attention is None:
        message = "feeds back what a decoder's attention says. Give --attention luong_general, say"
        raise RequestError(message, where="--input-feeding")
    if norm != "none" and attention is not None:
        raise RequestError("decoders have none. Leave it out, or --attention", where="--norm")
    spec = NetworkSpec(
        cell=cell,
        input_size=features,
        hidden=hidden,
        output_size=output,
        readout=readout if attention is None else "each",
        loss="cross_entropy",
        layers=layers,
        bidirectional=bidirectional,
        vocab=vocab,
        projection=projection,
        norm=norm,
        decoder=None if attention is None else DecoderSpec(features, attention, input_feeding),
    )
    describing.describe_cell(spec, plugin_files=plugin or [], json=json)


@app.command()
def report(
    runs: RunsArgument = None,
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="BASE", help="Compare with this run; with --by, this value of the axis."
        ),
    ] = "",
    by: Annotated[
        str, typer.Option("--by", metavar="AXIS", help="Compare within the run: backend, env, cell, ...")
    ] = "",
    format: Annotated[
        str,
        typer.Option("--format", help="html (default), md, or for the figures alone svg, png or pdf."),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder, or a file that ends in .html or .md; default: the run's folder."),
    ] = None,
) -> None:
    """Write the report of a run again, or one of several runs, or of a comparison."""
    from rnnbench.cli import reporting

    reporting.report(runs or [], reporting.Asked(format, out, by, base))


@app.command()
def history(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Runs, folders or zips of runs; default: ./results."),
    ] = None,
    case: Annotated[
        str, typer.Option("--case", metavar="TEXT", help="Run by run, the cases whose key contains TEXT.")
    ] = "",
    phase: Annotated[
        str, typer.Option("--phase", help="forward, train_step, ...; default: the most that was timed.")
    ] = "",
    metric: Annotated[
        str, typer.Option("--metric", help="Instead: score, host_peak_bytes, first_forward_s, ...")
    ] = "",
    json: JsonOption = False,
) -> None:
    """A case over runs and commits, one machine at a time; change points as a lagging view."""
    from rnnbench.cli import history as telling

    telling.show_history(paths or [], telling.Asked(case, phase, metric, json))


@app.command()
def export(
    runs: RunsArgument = None,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, jsonl, parquet, junit, summary, tensorboard, pytest-benchmark or "
            "github-action-benchmark.",
        ),
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option("--out", help="File (tensorboard: folder); default: beside the run.")
    ] = None,
) -> None:
    """Write runs as one table, or in the format of another tool."""
    from rnnbench.cli import looking

    looking.export(runs or [], format, out)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The suite to write.")],
    csv: Annotated[Path | None, typer.Option("--csv", help="Your data.")] = None,
    target: Annotated[str, typer.Option("--target", help="The column to forecast.")] = "",
) -> None:
    """Write a commented first suite, on your own data if given."""
    from rnnbench.cli import looking

    looking.init(file, csv, target)


@app.command()
def doctor(
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Measure identical code, and +5 % time steps; minutes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller self-test: 4 networks, not 20.")] = False,
    backend: BackendOption = None,
    plugin: PluginOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Keep what the self-test measures in this folder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what on this machine disturbs measuring, what to do, and what size of change can be seen."""
    from rnnbench.cli import doctor as examining

    raise typer.Exit(
        examining.doctor(
            self_test=self_test,
            quick=quick,
            backends=_split(backend),
            plugin_files=plugin or [],
            out=out,
            json=json,
        )
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of suites, for editors."""
    from rnnbench.cli import looking

    looking.schema()


def _request(
    settings: list[str] | None,
    backend: list[str] | None,
    cell: list[str] | None,
    select: str,
    device: str,
    budget: str,
    plugin: list[Path] | None,
    env: list[str] | None,
) -> Any:
    from rnnbench.cli.measuring import Request
    from rnnbench.suite.overrides import Overrides

    overrides = Overrides(
        settings=tuple(settings or ()),
        backends=_split(backend),
        cells=_split(cell),
        select=select,
        device=device,
        budget=budget,
    )
    return Request(overrides, tuple(str(file) for file in plugin or ()), tuple(env or ()))


def _split(values: list[str] | None) -> tuple[str, ...]:
    return tuple(part for value in values or () for part in value.split(",") if part)

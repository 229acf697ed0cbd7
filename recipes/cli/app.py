"""The command line `align`: verbs that parse, call one Python function and print.  No torch until work starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from recipes.cli.errors import run_command
from recipes.stages.kind import StageKind
from recipes.stages.table import STAGES

app = typer.Typer(
    name="align",
    invoke_without_command=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""From a base LLaMA-family model to an aligned chat model, by the recipe of the Llama 2 paper.

[bold]Examples[/bold]

  align recipes                      the recipes that come with the suite

  align plan quickstart              what would run; runs nothing

  align init my.yaml --data chats.jsonl   a recipe of your own, commented

  align check my.yaml sft.epochs=3   read the data, show rows and loss masks

  align run quickstart               every stage, into runs/quickstart

  align run my.yaml --out runs/mine sft.optimizer.learning_rate=1e-5

  align stages runs/mine             how far it is

  align chat runs/mine               talk to the newest model

The same command goes on after Ctrl-C, a crash or a full disk; finished stages are not done again.""",
)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name or a YAML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings over the recipe's, as sft.epochs=2.", show_default=False),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, as runs/quickstart.", show_default=False)
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The run's folder (default: runs/NAME).", show_default=False)
]
Redo = Annotated[bool, typer.Option("--redo", help="Put changed stages aside (into DIR/.replaced) and do them again.")]
Only = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="ROLE", help="One of them alone, as in the example; all otherwise.", show_default=False
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Let Python functions that the recipe names run (reward.*.function); read them."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")]


@app.callback()
def align(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the suite's version and exit.")] = False,
) -> None:
    """What holds for every verb; `align` alone shows the help."""
    if version:
        import alignment

        typer.echo(f"align {alignment.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Out = None,
    redo: Redo = False,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="STAGE", help="Only what this stage (or kind) needs.", show_default=False),
    ] = None,
    allow_code: AllowCode = False,
    quiet: QuietOption = False,
) -> None:
    """Run a recipe's stages: skip what is finished, resume what was interrupted.

    Example: align run quickstart rlhf.versions=2 rlhf.ppo_from=2 --out runs/short
    """
    from recipes.cli.run import run_and_tell

    targets = (until,) if until else ()
    run_and_tell(recipe, overrides or (), out=out, redo=redo, until=targets, quiet=quiet, allow_code=allow_code)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new recipe, as my.yaml.", show_default=False)],
    origin: Annotated[
        str, typer.Option("--from", metavar="NAME", help="The shipped recipe to begin from.")
    ] = "quickstart",
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Your chats (a file or glob), for SFT.", show_default=False),
    ] = None,
) -> None:
    """Write a commented recipe of your own, begun from a shipped one.

    With --data its SFT trains on your chats; the stages after it stand there commented out.

    Example: align init my.yaml --from quickstart --data chats.jsonl
    """
    from recipes.cli.begin import init_recipe

    init_recipe(file, origin=origin, data=data)


@app.command()
def study(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A shipped study's name or a YAML file.", show_default=False)
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The study's folder (default: runs/NAME).", show_default=False),
    ] = None,
    redo: Redo = False,
    allow_code: AllowCode = False,
    quiet: QuietOption = False,
) -> None:
    """Run one recipe in several variants and with several seeds, and put them side by side on one page.

    Stages that members have in common are run once.

    Example: align study margin
    """
    from recipes.cli.run import run_study_and_tell

    run_study_and_tell(study, overrides or (), out=out, redo=redo, quiet=quiet, allow_code=allow_code)


def _stage_verb(kind: StageKind[Any, Any]) -> None:
    """One verb per kind of stage: run it and what it needs, nothing after it."""

    def verb(
        recipe: RecipeArgument,
        overrides: Overrides = None,
        out: Out = None,
        redo: Redo = False,
        allow_code: AllowCode = False,
        quiet: QuietOption = False,
    ) -> None:
        from recipes.cli.run import run_and_tell

        targets = (kind.name,)
        run_and_tell(recipe, overrides or (), out=out, redo=redo, until=targets, quiet=quiet, allow_code=allow_code)

    def verb_of_some(
        recipe: RecipeArgument,
        overrides: Overrides = None,
        out: Out = None,
        redo: Redo = False,
        only: Only = None,
        quiet: QuietOption = False,
    ) -> None:
        from alignment.errors import UsageError
        from recipes.cli.run import run_and_tell

        if only is not None and only not in kind.only:
            raise UsageError(f"--only is {only!r}; {' or '.join(kind.only)} is right")
        until = f"{kind.name}-{only}" if only else kind.name
        run_and_tell(recipe, overrides or (), out=out, redo=redo, until=(until,), quiet=quiet)

    example = f"--only {kind.only[0]}" if kind.only else "--out runs/quickstart"
    chosen = verb_of_some if kind.only else verb
    chosen.__doc__ = f"{kind.does} (and what it needs).\n\nExample: align {kind.name} quickstart {example}"
    app.command(kind.name, rich_help_panel="One stage")(chosen)


for _kind in STAGES.values():
    if _kind.section is not None:  # `align report` writes the page of a run, whatever its recipe
        _stage_verb(_kind)


@app.command()
def annotate(
    run: RunArgument,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Who annotates (default: annotator).", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The page's port; 0: any that is free.")] = 8765,
    stage: Annotated[
        str | None,
        typer.Option("--stage", metavar="NAME", help="Which stage (default: the one that waits).", show_default=False),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the items out instead.", show_default=False),
    ] = None,
    taken: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Take verdicts in instead.", show_default=False),
    ] = None,
) -> None:
    """Compare the answers that a run waits for: a page for this machine's browser, blind and by keyboard.

    With --export the items are written as JSON Lines, to be worked on elsewhere; --import takes what came back, all or
    nothing.

    Example: align annotate runs/mine --name anna
    """
    from recipes.cli.annotate import annotate_run

    annotate_run(run, name=name, port=port, stage=stage, export=export, taken=taken)


@app.command()
def merge(
    run: RunArgument,
    stage: Annotated[
        str, typer.Option("--stage", metavar="NAME", help="A stage that trained an adapter.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The new folder (default: RUN/merged/NAME).", show_default=False),
    ] = None,
) -> None:
    """Write a stage's adapter and its base as one whole model, which every tool for Llama checkpoints loads.

    Example: align merge runs/mine --stage sft
    """
    from recipes.cli.merge import merge_and_tell

    merge_and_tell(run, stage, out)


@app.command(rich_help_panel="Look")
def check(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    rows: Annotated[
        int, typer.Option("--rows", min=0, max=50, help="Sample rows shown token by token, per section.")
    ] = 2,
) -> None:
    """Everything short of training: read the data, count, and show rows with their loss mask.

    Example: align check my.yaml sft.too_long=split
    """
    from recipes.cli.check import check_and_tell

    check_and_tell(recipe, overrides or (), rows=rows)


@app.command(rich_help_panel="Look")
def plan(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    devices: Annotated[int, typer.Option("--devices", min=1, help="GPUs (or processes) that train together.")] = 1,
    memory: Annotated[
        float | None, typer.Option("--memory", min=0.1, help="GB of each GPU; says whether the recipe fits.")
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option("--tflops", min=0.001, help="Peak of each device (A100: 312, H100: 989); says device-hours."),
    ] = None,
    mfu: Annotated[float, typer.Option("--mfu", min=0.01, max=1, help="Share of the peak that is reached.")] = 0.4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """The stages, what each starts from, what it takes of memory and computing; runs nothing.

    Example: align plan llama2-7b-chat --devices 8 --memory 80 --tflops 312
    """
    from recipes.cli.plan import Asked, show_plan

    show_plan(recipe, overrides or (), Asked(devices=devices, memory=memory, tflops=tflops, mfu=mfu, as_json=as_json))


@app.command(rich_help_panel="Look")
def stages(run: RunArgument) -> None:
    """A run's stages with status, time and headline figure.

    Example: align stages runs/quickstart
    """
    from recipes.cli.show import show_stages

    show_stages(run)


@app.command(rich_help_panel="Look")
def verify(run: RunArgument) -> None:
    """Compare every file of a run's finished stages with what the stage left.

    Example: align verify runs/quickstart
    """
    from recipes.cli.show import verify_run

    verify_run(run)


@app.command(rich_help_panel="Look")
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="One run, or several to compare.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where a comparison is written.", show_default=False)
    ] = None,
) -> None:
    """Write the report of a run (HTML, Markdown, JSON), or compare several runs.

    Example: align report runs/a runs/b --out compared
    """
    from recipes.cli.show import write_report

    write_report(runs, out)


@app.command(rich_help_panel="Look")
def chat(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a checkpoint's.", show_default=False)],
    stage: Annotated[
        str | None,
        typer.Option("--stage", metavar="NAME", help="Which model (default: the newest).", show_default=False),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="A system message.", show_default=False)
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=10, help="0 takes the most likely token.")
    ] = 0.6,
    top_p: Annotated[float, typer.Option("--top-p", min=0.01, max=1, help="Nucleus of the sampling.")] = 0.9,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Most tokens of an answer.")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed and lines give the same answers.")] = 0,
) -> None:
    """Talk to a run's model or a checkpoint, line by line; reads standard input, so it can be piped.

    In the dialogue /new starts a fresh one, /help says what can be typed, /quit or Ctrl-D ends.

    Example: echo "Do you know where Brian Irving lives?" | align chat runs/quickstart --temperature 0
    """
    from recipes.cli.chat import chat_on_terminal

    chat_on_terminal(
        run, stage=stage, system=system, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed
    )


@app.command(rich_help_panel="Look")
def recipes(
    destination: Annotated[
        Path | None, typer.Argument(metavar="DEST", help="The copy's file (default: NAME.yaml).", show_default=False)
    ] = None,
    copy: Annotated[
        str | None,
        typer.Option("--copy", metavar="NAME", help="Write this one out, to be edited.", show_default=False),
    ] = None,
) -> None:
    """The recipes that come with the suite; with --copy, one of them as a file of one's own.

    Example: align recipes --copy quickstart my.yaml
    """
    from alignment.errors import UsageError
    from recipes.cli.begin import copy_recipe
    from recipes.cli.show import show_recipes

    if copy is not None:
        copy_recipe(copy, destination)
    elif destination is not None:
        raise UsageError(f"{destination} is where a copy would go; say which recipe with --copy NAME")
    else:
        show_recipes()


@app.command(rich_help_panel="Look")
def schema() -> None:
    """The JSON schema of recipes, for editors and checkers.

    Example: align schema > recipe.schema.json
    """
    from recipes.cli.show import show_schema

    show_schema()


@app.command(rich_help_panel="Look")
def world(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the files.", show_default=False)],
    size: Annotated[str, typer.Option("--size", help="seconds, minutes or hours.")] = "seconds",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The town follows from it.")] = 0,
) -> None:
    """Write the embedded world's data as files, to look at or to use elsewhere.

    Example: align world --size seconds --out town
    """
    from recipes.cli.show import write_world_files

    write_world_files(size=size, seed=seed, out=out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    call: Callable[[], Any] = lambda: app(  # noqa: E731
        args=list(arguments) if arguments is not None else None, prog_name="align", standalone_mode=False
    )
    sys.exit(run_command(call))


if __name__ == "__main__":
    main()

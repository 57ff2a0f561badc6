"""Where the answers go: a file, a folder of files (on Ray), or back as they came; the certificate beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from smart_llm import tables
from smart_llm.certificates.certificate import Certificate
from smart_llm.engine.options import Place
from smart_llm.engine.run import Finished
from smart_llm.errors import InputError
from smart_llm.files import unwritten, whole
from smart_llm.tables.output_folder import Folder
from smart_llm.tables.storage import is_address
from smart_llm.tasks import Task
from smart_llm.tasks.given import fields_of

if TYPE_CHECKING:
    from smart_llm.engine.job import Job

Output: TypeAlias = Path | Folder | None
"""None: the answered table is given back."""
UNASKED = "skipped: empty"
"""Status of a row that nobody was asked about."""
CERTIFICATE, BEFORE = ".certificate.json", ".before"
"""What the certificate's name adds to the output's, and what is added to that of a file which is in the way."""


def certificate_path(output: Path) -> Path:
    """Where the certificate of an output stands."""
    return output.with_name(output.name + CERTIFICATE)


def checked(output: Place | None, table: tables.Table, safe: bool, *, on_ray: bool = False) -> Output:
    """Where the answers go, if they can: a file, or, on Ray, a folder of files."""
    output = os.fspath(output) if output is not None else None
    folder = on_ray and output is not None and _names_folder(output)
    if safe and (output is None or folder or tables.format_of(output) not in tables.SEPARATORS):
        raise InputError("--safe-csv: there is no CSV or TSV output; name one with --output, or leave it out.")
    if folder:
        place = Folder(str(output))
        place.prepare(table)
        return place
    if output is None:
        tables.check_columns(table)
        return None
    tables.check_output(Path(output), table)
    return Path(output)


def _names_folder(output: str) -> bool:
    return is_address(output) or Path(output).suffix.lower() not in tables.FORMATS


def keep(certificate: Certificate, output: Path | Folder) -> None:
    """The certificate, next to the output."""
    if isinstance(output, Folder):
        output.beside(CERTIFICATE, certificate.to_json() + "\n")
    else:
        _write(certificate, certificate_path(output))


def make_way(certificate: Certificate, output: Output) -> str:
    """What stands in an output's place, and is not of this run, is set aside with its certificate, in the place of what
    was set aside before. Returns what to say of it, if there was anything. A process that is killed at any step leaves
    what can be done again: the certificate is copied first, and goes once the table has gone."""
    if not isinstance(output, Path) or _plan_of(certificate_path(output)) == certificate.plan_hash:
        return ""
    target = Path(os.path.realpath(output))
    aside = target.with_name(target.name + BEFORE)
    if not target.is_file():
        return ""
    here, there = certificate_path(output), certificate_path(aside)
    try:
        if here.is_file():
            with here.open("rb") as old, whole(there) as copy:
                shutil.copyfileobj(old, copy)
        else:
            there.unlink(missing_ok=True)
        os.replace(target, aside)
        here.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(unwritten(aside, error)) from error
    return f"{output} was there, and not of this run: it is {aside.name} now."


def _plan_of(certificate: Path) -> str | None:
    """The plan that a certificate is about, as far as it is one."""
    try:
        value = json.loads(certificate.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value.get("plan_hash") if isinstance(value, dict) else None


def check_explode(task: Task, table: tables.Table) -> None:
    """InputError: there is nothing to take apart, or a column is in the way."""
    if task.contract.kind != "json":
        raise InputError("--explode goes with JSON answers: give --schema or --answer json, or leave it out.")
    for field in fields_of(task.contract) or []:
        if (name := f"{table.added[0]}.{field}") in table.columns:
            raise InputError(f"the table already has {name}, which --explode adds: give --answer-column NAME.")


def deliver(job: Job, finished: Finished, output: Output, *, safe: bool, explode: bool) -> Any:
    """The answered table: written (a folder's files are, by then), and given back as it came in. A file's certificate
    is there before it: by that a further process knows the file as this run's own, and does not set it aside."""
    table, columns = _whole(job.table, (finished.answers, finished.answered_by, finished.status))
    answers, by, status = columns
    if isinstance(output, Path):
        texts = tables.format_of(output) in tables.SEPARATORS
        typed = answers if texts else tables.View(answers, job.task.value)
        more = _fields(job.task, answers, table) if explode else {}
        keep(finished.certificate, output)
        (tables.write_harmless if safe else tables.write)(table, typed, by, status, output, more=more)
    if isinstance(output, Folder):
        keep(finished.certificate, output)
        return output.at if is_address(output) else Path(output.at)
    if output is not None and (table.path is not None or table.pieces):
        return output
    more = _fields(job.task, answers, table) if explode else {}
    return tables.like_source(table, tables.View(answers, job.task.value), by, status, more=more)


def objects(job: Job, finished: Finished) -> tables.Column:
    """The answers as what the task was given, one a row of the delivered table."""
    [answers] = _whole(job.table, (finished.answers,))[1]
    return tables.View(answers, job.task.made)


def _whole(table: tables.Table, columns: Sequence[tables.Column]) -> tuple[tables.Table, list[tables.Column]]:
    """The table that is delivered, and its columns: rows that nobody was asked about are there too."""
    if table.whole is None:
        return table, list(columns)
    whole, positions = table.whole
    unasked = (None, None, UNASKED)
    return whole, [
        tables.View(column, positions=positions, rows=whole.rows, otherwise=otherwise)
        for column, otherwise in zip(columns, unasked, strict=False)
    ]


def _fields(task: Task, answers: tables.Column, table: tables.Table) -> dict[str, tables.Column]:
    """A column for every field of JSON answers: those the schema names, else all there are."""
    names = fields_of(task.contract)
    if names is None:
        values = (task.value(text) for text in answers if text is not None)
        names = list(dict.fromkeys(name for value in values if isinstance(value, dict) for name in value))
    return {f"{table.added[0]}.{name}": tables.View(answers, _field(task, name)) for name in names}


def _field(task: Task, name: str) -> Callable[[str], Any]:
    def field(text: str) -> Any:
        value = task.value(text)
        return value.get(name) if isinstance(value, dict) else None

    return field


def _write(certificate: Certificate, path: Path) -> None:
    """Write a certificate next to the output, whole or not at all."""
    try:
        with whole(path) as file:
            file.write(certificate.to_json().encode() + b"\n")
    except OSError as error:
        raise InputError(unwritten(path, error)) from error

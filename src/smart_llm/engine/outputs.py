"""Where the answers go: a file, a folder of files (on Ray), or back as they came; the certificate beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from smart_llm import tables
from smart_llm.engine.ray.sources import Folder
from smart_llm.engine.run import Finished
from smart_llm.errors import InputError
from smart_llm.reports.certificate import Certificate
from smart_llm.tables.places import is_address

Output: TypeAlias = Path | Folder | None
"""None: the answered table is given back."""
CERTIFICATE = ".certificate.json"
"""What the certificate's name adds to the output's."""


def certificate_path(output: Path) -> Path:
    """Where the certificate of an output stands."""
    return output.with_name(output.name + CERTIFICATE)


def checked(output: str | Path | None, table: tables.Table, safe: bool, *, on_ray: bool = False) -> Output:
    """Where the answers go, if they can: a file, or, on Ray, a folder of files."""
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


def _names_folder(output: str | Path) -> bool:
    return is_address(output) or Path(output).suffix.lower() not in tables.FORMATS


def keep(certificate: Certificate, output: Path | Folder) -> None:
    """The certificate, next to the output."""
    if isinstance(output, Folder):
        output.beside(CERTIFICATE, certificate.to_json() + "\n")
    else:
        _write(certificate, certificate_path(output))


def deliver(table: tables.Table, finished: Finished, output: Output, safe: bool) -> Any:
    """The answered table: written (a folder's files are, by then), and given back as it came in."""
    columns = (finished.answers, finished.answered_by, finished.status)
    if isinstance(output, Path):
        (tables.write_harmless if safe else tables.write)(table, *columns, output)
    if output is not None:
        keep(finished.certificate, output)
        if isinstance(output, Folder):
            return output.at if is_address(output) else Path(output.at)
        if table.path is not None or table.pieces:
            return output
    return tables.like_source(table, *columns)


def _write(certificate: Certificate, path: Path) -> None:
    """Write a certificate next to the output, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(certificate.to_json() + "\n", encoding="utf-8")
    part.replace(path)

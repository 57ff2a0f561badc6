"""Tables in and out: CSV, TSV, JSONL, Parquet, standard input, pandas, polars, Arrow, DuckDB, lists of
dicts.

Nothing is lost and nothing is reordered: the rows that come out are the rows that went in, cell for cell, with
`answer`, `answered_by` and `status` added. Everything that can go wrong with files is found before anything is spent.

    table = open_table("reviews.csv")        or a frame, or spool(sys.stdin.buffer, folder)
    check_output("out.csv", table)           before anything is spent
    for row in table.cells(columns): …       column → text, in slices; cells_at(positions, columns) for some
    write(table, answers, models, status, "out.csv")    or like_source(table, answers, models, status)

polars is imported when a table is read, not when this package is: the command line must start fast.
"""

from smart_llm.tables.columns import Column, View
from smart_llm.tables.frames import from_frame, like_source, open_table
from smart_llm.tables.manner import Manner
from smart_llm.tables.reading import FORMATS, SEPARATORS, format_of, read, spool
from smart_llm.tables.table import ADDED, Table
from smart_llm.tables.writing import check_columns, check_output, write, write_harmless

__all__ = [
    "ADDED",
    "FORMATS",
    "SEPARATORS",
    "Column",
    "Manner",
    "Table",
    "View",
    "check_columns",
    "check_output",
    "format_of",
    "from_frame",
    "like_source",
    "open_table",
    "read",
    "spool",
    "write",
    "write_harmless",
]

"""Delimited files as other programs and people leave them: read as they were written, or refused by row."""

import codecs
import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smart_llm.errors import InputError
from smart_llm.tables import ADDED, Manner, Table, dialects, read, reading, write
from smart_llm.tables import large as stored


@pytest.fixture(params=["in memory", "on disk"], autouse=True)
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds for small files holds for large ones."""
    if request.param == "on disk":
        monkeypatch.setattr(stored, "LARGE", 1)
        monkeypatch.setattr(stored, "PART", 2)
        monkeypatch.setattr(reading, "_CHUNK", 4)


def kept(tmp_path: Path, name: str, text: str | bytes) -> Path:
    """A file of this text."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(table: Table) -> list[tuple[str, ...]]:
    """All cells."""
    return [tuple(row.values()) for row in table.cells(table.columns)]


@pytest.mark.parametrize(
    "cells",
    [
        ['"Hello there', "Win a prize", "OK", 'I said "yes"'],
        ['"Hello there', "Win a prize", "OK", 'say it"'],
        ['5" nails', "a", '"b" and "c"', "d"],
        ['"', "a", '"', "b"],
        ['"Whole"', 'in "the" middle', "x", "y"],
        ['say \\"hi\\"', "C:\\new", "\\N", '"'],
        ["one, two", '"a', "", 'b"'],
    ],
)
def test_quotes_in_a_tsv_are_text_where_nobody_doubles_them(cells: list[str], tmp_path: Path) -> None:
    """Every line of a corpus is a row, and its quotes and backslashes stay."""
    path = kept(tmp_path, "t.tsv", "label\ttext\n" + "".join(f"ham\t{cell}\n" for cell in cells))
    table = read(path)
    assert rows(table) == [("ham", cell) for cell in cells]
    assert "ordinary characters" in table.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a\tb\nx\t"say ""hi"""\n', [("x", 'say "hi"')]),
        ('a\tb\nx\t"two\nlines"\ny\tz\n', [("x", "two\nlines"), ("y", "z")]),
        ('a\tb\n"x"\t"tab\there"\n', [("x", "tab\there")]),
        ('"a"\t"b"\n"1"\t"2"\n', [("1", "2")]),
    ],
)
def test_quotes_in_a_tsv_are_quotes_where_a_program_wrote_them(
    text: str, expected: list[tuple[str, ...]], tmp_path: Path
) -> None:
    """What spreadsheets and data frames write is read back."""
    assert rows(read(kept(tmp_path, "t.tsv", text))) == expected


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (r'"He said \"hi\", ok"', 'He said "hi", ok'),
        (r'"\"hi\""', '"hi"'),
        (r'"a \"b\" c:\\d \n"', r'a "b" c:\d \n'),
        ('"one \\"two\\"\nthree"', 'one "two"\nthree'),
    ],
)
def test_backslashes_before_quotes(name: str, cell: str, expected: str, tmp_path: Path) -> None:
    """Files that write a quote as backslash and quote give the quote, and no other backslash is touched."""
    separator = "," if name.endswith("csv") else "\t"
    lines = [("id", "text", "n"), ("1", cell, "2"), ("3", '"plain"', "4")]
    table = read(kept(tmp_path, name, "".join(separator.join(line) + "\n" for line in lines)))
    assert rows(table) == [("1", expected, "2"), ("3", "plain", "4")]


def test_a_backslash_at_the_end_of_a_quoted_cell_is_a_backslash(tmp_path: Path) -> None:
    """A file that is right as it stands is never read in another way."""
    assert rows(read(kept(tmp_path, "t.csv", 'a,b\n"C:\\",x\n"q ""w""",y\n'))) == [("C:\\", "x"), ('q "w"', "y")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,2\n"x,2\n3,4\n', r"row 2 \(line 3\).*never closed"),
        ('a,b\n1,2\n5,"x\n3,"4"\n', r"row 2 \(line 3\).*follows its closing quote"),
        ('a,b\n"p\nq",2\n1,"x\n3,4\n', r"row 2 \(line 4\).*never closed"),
        ("a,b\n1,2\n\n1,2,3\n4,5\n", r"row 2 \(line 4\) has 3 cells"),
        ('a,b\n"Great" movie,"2,3"\n', r"row 1 \(line 2\)"),
    ],
)
def test_a_spoilt_row_is_named(text: str, said: str, tmp_path: Path) -> None:
    """Row and line of what is wrong stand in the error, which has no traceback and one line."""
    with pytest.raises(InputError, match=said) as error:
        read(kept(tmp_path, "t.csv", text))
    assert "\n" not in str(error.value)


def test_titles_in_quotes(tmp_path: Path) -> None:
    """Quotes that never hold a whole cell are text in CSV too, and --quotes none makes them so anywhere."""
    assert rows(read(kept(tmp_path, "t.csv", 'a,b\n"Great" movie,2\n'))) == [('"Great" movie', "2")]
    path = kept(tmp_path, "u.csv", 'a,b\n"Great" movie,2\n"x",3\n')
    assert rows(read(path, Manner(quotes="none")))[1] == ('"x"', "3")
    with pytest.raises(InputError, match="auto, double, backslash, none"):
        read(path, Manner(quotes="odd"))


def test_rows_swallowed_by_an_open_quote_are_a_caution(tmp_path: Path) -> None:
    """A cell whose lines look like rows is said, with its lines; a review of several paragraphs is not."""
    open_quote = 'id,text,n\n1,"open,2\n2,x,3\n3,y,3\n4,z",5\n'
    [note] = read(kept(tmp_path, "t.csv", open_quote)).notes
    assert "row 1 (lines 2 to 5)" in note
    assert not read(kept(tmp_path, "u.csv", 'id,text\n1,"First.\n\nSecond, and so on.\nEnd."\n')).notes


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_are_no_rows(end: str, tmp_path: Path) -> None:
    """Neither before the header, nor in the middle, nor at the end; how many there were is said."""
    text = end.join(["", "a,b", "1,2", "", "  ", "3,4", "", ""])
    table = read(kept(tmp_path, "t.csv", text))
    assert rows(table) == [("1", "2"), ("3", "4")]
    assert "blank lines are left out" in table.notes[0]


def test_semicolons_and_other_separators(tmp_path: Path) -> None:
    """What separates cells is seen in the file, said, and used again in the output; `sep=` says it too."""
    for mark in ";\t|":
        path = kept(tmp_path, "t.csv", f'id{mark}text\n1{mark}"a, b{mark} c"\n2{mark}d, e\n')
        table = read(path)
        assert rows(table) == [("1", f"a, b{mark} c"), ("2", "d, e")]
        assert repr(mark) in table.notes[0]
        write(table, ["x", "y"], ["m"] * 2, ["ok"] * 2, tmp_path / "o.csv")
        assert (tmp_path / "o.csv").read_text().splitlines()[0] == mark.join(["id", "text", *ADDED])
        assert rows(read(tmp_path / "o.csv"))[1] == ("2", "d, e", "y", "m", "ok")
    assert rows(read(kept(tmp_path, "t.csv", "sep=;\na;b\n1;2,5\n"))) == [("1", "2,5")]


def test_one_column_of_prose(tmp_path: Path) -> None:
    """Commas in the only column of a file are text."""
    table = read(kept(tmp_path, "t.csv", 'text\nGood, cheap\n"Bad, dear"\nplain; so so\n'))
    assert [row[0] for row in rows(table)] == ["Good, cheap", "Bad, dear", "plain; so so"]


def test_columns_without_a_name_or_with_the_same(tmp_path: Path) -> None:
    """They have names of their own here, are said, and keep their header in the output."""
    path = kept(tmp_path, "t.csv", ",text,v,v,,\n0,a,1,2,,\n1,b,3,4,,\n")
    table = read(path)
    assert table.columns == ("column_1", "text", "v_1", "v_2", "column_5", "column_6")
    assert any("{v_1}, {v_2}" in note for note in table.notes)
    write(table, ["x", "y"], ["m"] * 2, ["ok"] * 2, tmp_path / "o.csv")
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert lines == [",text,v,v,,,answer,answered_by,status", "0,a,1,2,,,x,m,ok", "1,b,3,4,,,y,m,ok"]


def test_row_numbers_that_the_header_leaves_out(tmp_path: Path) -> None:
    """Files of R have a header one cell shorter than the rows."""
    table = read(kept(tmp_path, "t.csv", '"a","b"\n"1","x","y"\n"2","z","w"\n'))
    assert table.columns == ("column_1", "a", "b")
    assert rows(table) == [("1", "x", "y"), ("2", "z", "w")]


def test_a_separator_too_many_at_every_end(tmp_path: Path) -> None:
    """Empty cells beyond the header are nothing."""
    assert rows(read(kept(tmp_path, "t.csv", "a,b\n1,2,\n3,4,\n"))) == [("1", "2"), ("3", "4")]


def test_rows_with_too_few_cells_are_said(tmp_path: Path) -> None:
    """They are filled up with empty cells, and the first of them is named."""
    table = read(kept(tmp_path, "t.csv", "a,b\n1,2\n3\n"))
    assert rows(table)[1] == ("3", "")
    assert "row 2 (line 3)" in table.notes[0]


def test_tabs_under_other_names(tmp_path: Path) -> None:
    """What separates cells decides what quotes mean, whatever the file is called."""
    for name in ("t.csv", "t.txt"):
        assert rows(read(kept(tmp_path, name, 'id\ttext\n1\t"a\n2\tb, "c"\n'))) == [("1", '"a'), ("2", 'b, "c"')]
    assert rows(read(kept(tmp_path, "t.tsv", 'id,text\n1,"a, b"\n'))) == [("1", "a, b")]


def test_files_without_a_header(tmp_path: Path) -> None:
    """A first line whose cells stand in other rows is a row; the user can say so, or the contrary."""
    text = "ham\tGo until jurong\nspam\tWIN\nham\tok lar\nham\tfine\n"
    path = kept(tmp_path, "t.tsv", text)
    table = read(path)
    assert table.columns == ("column_1", "column_2")
    assert table.rows == 4
    assert "first line is read as a row" in table.notes[0]
    assert read(path, Manner(header=True)).columns == ("ham", "Go until jurong")
    assert read(kept(tmp_path, "u.csv", "1,x\n2,y\n"), Manner(header=False)).rows == 2


ENCODED = [
    ("cp1252", "id;text\n1;Größe passt, schöne Farbe für 5 €\n2;Müll\n"),
    ("latin-1", 'v1,v2,,\nham,"Go until jurong point, crazy..",,\nspam,"WINNER!! £900 prize",,\n'),
    ("latin-1", "id;text\n1;Größe passt nicht, schöne Farbe\n2;Müll, überhaupt nicht zu gebrauchen\n"),
    ("cp1251", "id;текст\n1;Очень хороший товар, рекомендую всем\n2;Плохое качество\n"),
    ("shift_jis", "id,本文\n1,とても良い商品でした\n2,最悪です、二度と買いません\n"),
]


@pytest.mark.parametrize(("name", "text"), ENCODED)
def test_other_encodings(name: str, text: str, tmp_path: Path) -> None:
    """A guess is said with the option that overrules it, and what the user says is taken without a word."""
    path = kept(tmp_path, "t.csv", text.encode(name))
    expected = rows(read(kept(tmp_path, "u.csv", text)))
    guessed = read(path)
    assert rows(guessed) == expected
    assert "a guess" in guessed.notes[0]
    assert "--encoding" in guessed.notes[0]
    told = read(path, Manner(encoding=name))
    assert rows(told) == expected
    assert not any("guess" in note for note in told.notes)
    assert guessed.table_hash == told.table_hash


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_unicode_in_other_forms(name: str, tmp_path: Path) -> None:
    """Byte order marks are no part of the first column's name; UTF-16 is known without one."""
    table = read(kept(tmp_path, "t.csv", "text,n\nGröße,1\n".encode(name)))
    assert table.columns == ("text", "n")
    assert rows(table) == [("Größe", "1")]


def test_an_encoding_that_is_none(tmp_path: Path) -> None:
    """A name nobody knows, and a file that is not what was said, are errors."""
    path = kept(tmp_path, "t.csv", "a\nGröße\n".encode("latin-1"))
    with pytest.raises(InputError, match="no such encoding"):
        read(path, Manner(encoding="klingon"))
    with pytest.raises(InputError, match="give another encoding="):
        read(path, Manner(encoding="utf-8"))
    with pytest.raises(InputError, match="encoding="):
        read(kept(tmp_path, "t.jsonl", b'{"a": "\xff"}'))
    lines = read(kept(tmp_path, "u.jsonl", '{"a": "é"}'.encode("latin-1")), Manner(encoding="latin-1"))
    assert rows(lines) == [("é",)]
    assert rows(read(kept(tmp_path, "v.jsonl", codecs.BOM_UTF16_LE + '{"a": "é"}'.encode("utf-16-le")))) == [("é",)]


def test_a_cell_of_any_length(tmp_path: Path) -> None:
    """No limit of a reader's own cuts a long cell."""
    long = "x" * 300_000
    assert rows(read(kept(tmp_path, "t.csv", f'a,b\n"{long}",1\n\n'))) == [(long, "1")]
    assert dialects.csv.field_size_limit() > len(long)


def test_line_ends_of_old_and_within_cells(tmp_path: Path) -> None:
    """A carriage return ends a line of a file that has no other ends, and stays inside cells."""
    assert rows(read(kept(tmp_path, "t.csv", "a,b\r1,2\r3,4\r"))) == [("1", "2"), ("3", "4")]
    assert rows(read(kept(tmp_path, "t.csv", 'a,b\r\n"x\ry","p\r\nq"\r\n'))) == [("x\ry", "p\r\nq")]


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    """The last one counts, in every row and in whatever way the file is read; the line stays as it was written."""
    text = '{"a": "x", "b": {"a": 1}, "a": "y"}\n{"a": "p", "b": {"a": 2}}\n'
    table = read(kept(tmp_path, "t.jsonl", text))
    assert [row["a"] for row in table.cells(["a"])] == ["y", "p"]
    assert "row 1 has the key 'a' twice" in table.notes[0]
    write(table, ["1", "2"], ["m"] * 2, ["ok"] * 2, tmp_path / "o.jsonl")
    assert (tmp_path / "o.jsonl").read_text().startswith('{"a": "x", "b": {"a": 1}, "a": "y", ')
    assert not read(kept(tmp_path, "u.jsonl", '{"a": {"a": 1}}\n')).notes


def test_arrays_of_json(tmp_path: Path) -> None:
    """An array is a table, written back as one with every object as it was; other shapes say what to do."""
    table = read(kept(tmp_path, "t.json", '[\n  {"a": 1.10,\n   "b": "x\\ny"},\n  {"a": 2}\n]\n'))
    assert rows(table) == [("1.1", "x\ny"), ("2.0", "")]
    write(table, [1, None], ["m"] * 2, ["ok"] * 2, tmp_path / "o.json")
    assert '{"a": 1.10,    "b": "x\\ny", "answer": 1,' in (tmp_path / "o.json").read_text()
    assert read(tmp_path / "o.json").rows == 2
    assert read(kept(tmp_path, "u.json", '{"a": 1}\n{"a": 2}\n')).rows == 2
    for text, said in [("[1, 2]", "item 1"), ('{"data": [{"a": 1}]}', r"jq -c '\.data\[\]'"), ("[{", "not valid JSON")]:
        with pytest.raises(InputError, match=said):
            read(kept(tmp_path, "v.json", text))


@pytest.mark.parametrize("packing", ["gz", "zst"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_compressed_files(packing: str, suffix: str, tmp_path: Path) -> None:
    """The format is what stands before .gz or .zst; a spoilt one is an error of one line."""
    frame = pl.DataFrame({"a": ["x", "ü"], "b": ["1", "2"]})
    plain = tmp_path / f"t.{suffix}"
    write(Table(frame, "frame"), ["p", "q"], ["m"] * 2, ["ok"] * 2, plain)
    data = gzip.compress(plain.read_bytes()) if packing == "gz" else zstd().compress(plain.read_bytes())
    packed = kept(tmp_path, f"u.{suffix}.{packing}", data)
    assert rows(read(packed)) == rows(read(plain))
    with pytest.raises(InputError, match="cannot be unpacked"):
        read(kept(tmp_path, f"v.{suffix}.{packing}", data[:-9]))
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / f"none.{suffix}.{packing}")


def zstd() -> Any:
    """Python's own from 3.14 on, else its backport."""
    try:
        from compression import zstd as found
    except ImportError:
        from backports import zstd as found
    return found


@pytest.mark.parametrize(("suffix", "command"), [("bz2", "bunzip2 -k"), ("xz", "unxz -k"), ("zip", "unzip")])
def test_other_packings_name_their_command(suffix: str, command: str, tmp_path: Path) -> None:
    """What is not read is refused with the one command that unpacks it."""
    with pytest.raises(InputError, match=f"unpack it first: {command} .*t.csv.{suffix}"):
        read(tmp_path / f"t.csv.{suffix}")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "marked"), [("utf-8", False), ("utf-8-sig", True), ("cp1252", False), ("utf-16", True)]
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_answers_are_written_as_the_table_was(
    tmp_path: Path, name: str, marked: bool, end: str, separator: str
) -> None:
    """UTF-8 always; a byte order mark where the table had one; its line ends and its separator; cells unchanged."""
    lines = [separator.join(row) for row in (("text", "n"), ("Größe", "1"), ('"a, b; c\nd"', "2"), ("Straße", "3"))]
    table = read(kept(tmp_path, "t.csv", (end.join(lines) + end).encode(name)))
    write(table, ["x", None, "y"], ["m"] * 3, ["ok"] * 3, tmp_path / "o.csv")
    data = (tmp_path / "o.csv").read_bytes()
    assert data.startswith(codecs.BOM_UTF8) == marked
    text = data.decode("utf-8-sig")
    assert text.startswith(separator.join(["text", "n", "answer", "answered_by", "status"]) + end)
    assert text.endswith(separator.join(["Straße", "3", "y", "m", "ok"]) + end)
    assert text.replace("c\nd", "").count("\n") == text.count(end) - (end == "\n")
    assert rows(read(tmp_path / "o.csv"))[1][:2] == ("a, b; c\nd", "2")
    write(table, ["x", None, "y"], ["m"] * 3, ["ok"] * 3, tmp_path / "o.tsv")
    assert not (tmp_path / "o.tsv").read_bytes().startswith(codecs.BOM_UTF8)
    assert b"\r" not in (tmp_path / "o.tsv").read_bytes()

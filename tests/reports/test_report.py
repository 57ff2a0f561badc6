"""Reports as they are read: what they say follows from the ledger, and nothing in a row can speak for itself."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

import smart_llm as smart
from smart_llm.ledger import Reader
from smart_llm.reports import facts, page
from smart_llm.reports.report import report
from smart_llm.reports.view import view
from smart_llm.text.numbers import usd
from smart_llm.text.safe import visible

Made = Callable[..., smart.Run[Any]]
Model = Callable[[float, str], smart.FakeProvider]

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></head><body onload=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "\u202etxet lortnoc\u202c \u2066isolated\u2069 \u200bnothing\u200b",
    "W" * 3000,
    "nul \0 bell \7 \x1b[31m",
    "السلام עולם",
    "{{ 7 * 7 }} {% raw %} {{ view }}",
    "&lt;b&gt; <svg onload=alert(1)> javascript:alert(1)",
    "\U000e0041\U000e0042 tags",
)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, attributes and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.parts: list[str] = []
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", " ".join(self.parts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element opens."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Text stands there."""
        if not self.tags or self.tags[-1] != "style":
            self.parts.append(data)


def facts_of(done: smart.Run[Any]) -> facts.Facts:
    """What the ledger knows of a run."""
    with Reader.open(done.ledger) as reader:
        return facts.read(reader, facts.find(reader.runs(), done.run_id), done.task)


def test_a_report_says_what_the_certificate_says(run: Made, tmp_path: Path) -> None:
    """Claim, cost, rows by model, labels, notes, seed, plan and the command to check it are on the page."""
    done = run(1200, self_check=10, output=tmp_path / "out.csv")
    done.report(tmp_path / "r.html")
    text, c = Page(tmp_path / "r.html").text, done.certificate
    assert c.granted
    assert c.claim["words"] in text
    for model, rows in c.delivered["by"].items():
        assert re.search(rf"{model} {rows:,} \d", text), f"{model} answered {rows}"
    for label in c.labels:
        assert f"{label['label']} {label['profiled']} {label['agreement']:.3f}" in text
    for said in (*c.notes, str(c.seed), c.plan_hash, f"${c.cost['total']:#.3g}", "asked twice"):
        assert said in text
    assert "smart verify out.csv.certificate.json --ledger texts.csv.ledger.db" in text
    assert "What is it? {text}" in text


def test_run_report_and_report_of_the_ledger_are_the_same(run: Made, tmp_path: Path) -> None:
    """`Run.report`, `report=` of the run and the ledger read later make the same page."""
    done = run(report=tmp_path / "at_once.html")
    done.report(tmp_path / "by_run.html")
    report("last", tmp_path / "later.html", ledger=done.ledger)
    pages = {(tmp_path / f"{name}.html").read_bytes() for name in ("at_once", "by_run", "later")}
    assert len(pages) == 1


@pytest.mark.parametrize("procedure", ["ladder", "smart/2024:profile-all", "smart/2024:model-mix", "reference-only"])
def test_curves_end_where_the_certificate_stands(run: Made, procedure: str) -> None:
    """Counted again from the ledger, every candidate agreed as often as the certificate says."""
    done = run(300, procedure=procedure)
    profiling = facts_of(done).profiling
    assert profiling is not None
    ends = {each.model: each.curve[-1] if each.curve else (0, 0) for each in profiling.candidates}
    standings = done.certificate.delivered["standings"]
    assert ends == {each["model"]: (each["profiled"], each["agreeing"]) for each in standings}


def test_broken_answers_are_told_apart_from_wrong_ones(run: Made, model: Model, tmp_path: Path) -> None:
    """A candidate that often breaks the contract is drawn low; the page says that this breaks no promise."""
    flaky = smart.FakeProvider(lambda r: "pardon?" if len(r.prompt) % 2 else "mixed")
    given = {"fake:big": smart.FakeProvider(lambda _: "mixed"), "fake:small": flaky, "fake:tiny": model(0.3, "tiny")}
    done = run([f"row {'x' * (i % 7)} {i}" for i in range(400)], providers=given)
    profiling = facts_of(done).profiling
    assert profiling is not None
    seen = profiling.candidates[0]
    rows, agreeing = seen.curve[-1]
    assert seen.deferred == rows - agreeing > 0
    done.report(tmp_path / "r.html")
    assert f"of its {agreeing:,} proper answers {agreeing:,} agreed" in Page(tmp_path / "r.html").text


def test_disagreements_are_shown_with_the_row(run: Made, tmp_path: Path) -> None:
    """Rows on which a candidate differs stand there with their text and both answers; pairs are counted."""
    done = run(300)
    profiling = facts_of(done).profiling
    assert profiling is not None
    shown = [example for each in profiling.candidates for example in each.examples]
    assert shown
    done.report(tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    for example in shown:
        assert f"Row {example.position + 1:,} text row number {example.position} " in text
        assert example.reference is not None
        assert example.answer != example.reference


def test_a_stopped_run_says_so_and_goes_on(run: Made, tmp_path: Path) -> None:
    """Out of budget: the report is written all the same, promises nothing, and says how to go on; later it is whole."""
    with pytest.raises(smart.BudgetExhausted):
        run(1200, budget=0.01, report=tmp_path / "r.html")
    stopped = Page(tmp_path / "r.html").text
    assert "Stopped" in stopped
    assert "Nothing is claimed yet" in stopped
    assert "Run the same command again" in stopped
    assert "With 95 % confidence" not in stopped
    run(1200, report=tmp_path / "r.html")
    assert "With 95 % confidence" in Page(tmp_path / "r.html").text


def test_a_killed_run_has_a_report(run: Made, tmp_path: Path) -> None:
    """Without any certificate the page says what the ledger knows: what was bought, and how candidates did."""
    done = run(400)
    with sqlite3.connect(done.ledger) as db:
        db.execute("UPDATE runs SET state = 'pending', certificate = NULL")
    db.close()
    report("last", tmp_path / "r.html", ledger=done.ledger)
    text = Page(tmp_path / "r.html").text
    assert "Not finished" in text
    assert usd(done.cost) in text
    assert "fake:small" in text


def test_the_rule_stands_beside_its_alternatives(run: Made, tmp_path: Path) -> None:
    """Every rule that keeps the promise has its cost: the one used as paid, the reference alone as estimated."""
    done = run(1200, report=tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    cost = done.certificate.cost
    assert re.search(rf"\d+ {re.escape(usd(cost['total']))} certified, and used", text)
    assert f"fake:big on every row 0 ≈ {usd(cost['reference_only'])} holds by definition" in text


def test_a_run_without_a_certified_candidate_says_why(run: Made, model: Model, tmp_path: Path) -> None:
    """The reference answered everything: the page says so and what might help; nothing is called saved that was not."""
    dumb = smart.FakeProvider(lambda _: "who knows")
    poor = {"fake:big": model(0.0, ""), "fake:small": dumb, "fake:tiny": dumb}
    done = run(400, providers=poor, report=tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    assert done.certificate.status == "reference-only"
    assert "Reference only" in text
    assert "No candidate could be certified" in text
    assert "more than the reference alone" in text
    assert "holds by definition, and used" in text
    assert "broke the output contract" in text


def test_hostile_rows_stay_text(run: Made, tmp_path: Path) -> None:
    """Markup, scripts, overrides of direction, NULs and endless words in rows, prompts and labels change nothing."""
    rows = [f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(500)]
    labels = ("</style><script>alert(1)</script>", "\u202eevil\u202c", "plain")
    done = run(rows, labels=labels)
    done.report(tmp_path / "hostile.html")
    run(400).report(tmp_path / "tame.html")
    hostile, tame = Page(tmp_path / "hostile.html"), Page(tmp_path / "tame.html")
    assert set(hostile.tags) <= set(tame.tags)
    assert {name for _, name, _ in hostile.attributes} <= {name for _, name, _ in tame.attributes}
    assert not [name for _, name, _ in hostile.attributes if name.startswith("on")]
    assert not re.search(
        "[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", hostile.source
    )
    assert "⟨U+202E⟩" in hostile.text
    assert sum(visible(row)[:60] in hostile.text for row in HOSTILE) >= 3, "hostile rows are among those shown"
    assert hostile.source.count("<style>") == hostile.source.count("</style>") == 1


def test_a_page_asks_for_nothing(run: Made, tmp_path: Path) -> None:
    """No script, no form, no address but anchors and the certificate within; the policy in it forbids the rest."""
    run(report=tmp_path / "r.html")
    made = Page(tmp_path / "r.html")
    assert not {"script", "form", "iframe", "object", "embed", "img", "base"} & set(made.tags)
    assert "default-src 'none'" in made.source
    for tag, name, value in made.attributes:
        if name in ("href", "src", "action", "srcset", "data"):
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"url\(|@import", made.source)


def test_the_certificate_within_verifies(run: Made, tmp_path: Path) -> None:
    """The certificate saved from the page is the one in the ledger, and verifies."""
    done = run(report=tmp_path / "r.html")
    (href,) = (v for tag, name, v in Page(tmp_path / "r.html").attributes if name == "href" and "base64," in v)
    carried = json.loads(base64.b64decode(href.partition("base64,")[2]))
    assert smart.verify(carried, done.ledger) == []


def test_headings_landmarks_and_tables_can_be_heard(run: Made, tmp_path: Path) -> None:
    """One h1, a main, named sections, captions and scopes, a title and a description for every picture; ids once."""
    run(report=tmp_path / "r.html")
    made = Page(tmp_path / "r.html")
    assert [made.tags.count(tag) for tag in ("h1", "main", "header", "footer", "nav")] == [1] * 5
    ids = [value for _, name, value in made.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert made.tags.count("caption") == made.tags.count("table") > 3
    named = [value for tag, name, value in made.attributes if name == "aria-labelledby"]
    assert {each for value in named for each in value.split()} <= set(ids)
    pictures = sum(tag == "svg" and (name, value) == ("role", "img") for tag, name, value in made.attributes)
    assert made.tags.count("desc") == pictures > 2
    cells = made.tags.count("th")
    assert cells == sum(tag == "th" and name == "scope" for tag, name, _ in made.attributes)


def test_text_that_is_not_stored_is_not_shown(run: Made, tmp_path: Path) -> None:
    """Without stored text neither rows nor replies that may quote them are on the page, which says why."""
    run(400, store_text=False, report=tmp_path / "r.html")
    made = Page(tmp_path / "r.html")
    assert "row number" not in made.source
    assert "who knows" not in made.source
    assert "not stored" in made.text


def test_free_answers_without_stored_text_are_not_shown(run: Made, tmp_path: Path) -> None:
    """Answers in free text may quote the row: they are left out where rows are not to be kept."""
    echo = smart.FakeProvider(lambda r: r.prompt[-20:])
    other = smart.FakeProvider(lambda r: f"other {r.prompt[-20:]}")
    task = smart.Task("Say it: {text}", answer="text")
    given = {"fake:big": echo, "fake:small": other, "fake:tiny": other}
    run(60, task=task, providers=given, store_text=False, report=tmp_path / "r.html")
    assert "number" not in Page(tmp_path / "r.html").source.replace('class="number"', "").replace(".number", "")


def test_a_task_with_functions_needs_them(run: Made, tmp_path: Path) -> None:
    """The ledger does not hold functions: its report falls back on the certificate; `Run.report` shows it all."""
    task = smart.Task("What is it? {text}", parse=lambda reply: reply.strip().lower(), equivalence="exact")
    done = run(300, task=task)
    report("last", tmp_path / "ledger.html", ledger=done.ledger)
    assert "functions of your own" in Page(tmp_path / "ledger.html").text
    done.report(tmp_path / "run.html")
    assert "Row " in Page(tmp_path / "run.html").text
    with pytest.raises(smart.InputError, match="another task"):
        report("last", tmp_path / "x.html", ledger=done.ledger, task=smart.Task("{text}", answer="text"))


def test_no_key_is_on_the_page(run: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment are on no page."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    run(report=tmp_path / "r.html")
    assert "sk-very-secret" not in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("place", ["none/r.html", "."])
def test_a_place_that_cannot_be_written_is_found_before_paying(run: Made, tmp_path: Path, place: str) -> None:
    """A wrong path is an `InputError` that names the option, and nothing is bought."""
    with pytest.raises(smart.InputError, match="report="):
        run(40, report=tmp_path / place)
    assert not (tmp_path / "texts.csv.ledger.db").exists()


def test_failures_leave_no_half_page(run: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page appears whole or not at all: the old one stays where writing fails."""
    done = run(60, report=tmp_path / "r.html")
    before = (tmp_path / "r.html").read_bytes()
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(smart.InputError, match="No space left"):
        done.report(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*part")] == []


def test_rows_without_an_answer_are_named(run: Made, tmp_path: Path) -> None:
    """Rows that finally failed are counted, and the first of them named."""

    def failing(request: smart.Request) -> str | Exception:
        number = int(re.findall(r"\d+", request.prompt)[-1])
        return smart.Refused("the prompt is too long", row_only=True) if number % 20 == 3 else "mixed"

    run(80, providers={"fake:big": smart.FakeProvider(failing)}, candidates=[], procedure="reference-only",
        report=tmp_path / "r.html")  # fmt: skip
    text = Page(tmp_path / "r.html").text
    assert "4 rows ended without an answer: row 4, 24, 44, 64." in text


def test_a_model_that_changes_is_a_caution(run: Made) -> None:
    """Where providers say that something else answers in mid-run, the head of the page says so."""
    told = facts_of(run(60))
    assert told.profiling is not None
    changed = replace(told, profiling=replace(told.profiling, snapshots={"fake:small": ("a-1", "a-2")}))
    assert any("different things" in caution for caution in view(changed).cautions)
    assert not any("different things" in caution for caution in view(told).cautions)


def test_long_lists_are_cut_and_say_so(run: Made, tmp_path: Path) -> None:
    """Hundreds of labels and pairs make no endless page."""
    labels = [f"label {i}" for i in range(300)]
    done = run(1000, labels=labels, agreement=0.94)
    done.report(tmp_path / "r.html")
    made = Page(tmp_path / "r.html")
    assert "more labels, none commoner" in made.text
    assert "other pairs" in made.text
    assert len(made.source) < 300_000


def test_short_names_only_where_they_tell_models_apart(run: Made) -> None:
    """An address is left out of a model's name, unless two models would then be called the same."""
    told = facts_of(run(20))
    names = [f"openai:{name}" for name in ("a@http://x:1/v1", "b@http://x:1/v1", "b@http://y:1/v1")]
    models = tuple(changed(told.plan.models[0], name=name) for name in names)
    told = replace(told, plan=changed(told.plan, models=models))
    said = told.short("openai:a@http://x:1/v1, openai:b@http://x:1/v1, openai:b@http://y:1/v1")
    assert said == "openai:a, openai:b@http://x:1/v1, openai:b@http://y:1/v1"


def test_the_template_takes_nothing_for_granted(run: Made) -> None:
    """Every text the template prints is escaped: a view of nothing but markup makes a page without any of it."""
    told = view(facts_of(run(60)))
    bad = "<b onclick=x>&amp;\u202e"
    made = page.html(replace(told, title=bad, claim=bad, promise=bad, cautions=(bad,), foot=bad))
    assert "<b onclick" not in made
    assert "\u202e" not in made
    assert made.count("&lt;b onclick=x&gt;&amp;amp;⟨U+202E⟩") == 6


def test_a_report_begins_with_what_anybody_wants_to_know(run: Made, tmp_path: Path) -> None:
    """The question, the day, what came of it in everyday words, rows by their answer, and what to do next."""
    done = run(1200, report=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    head = page.partition("</header>")[0]
    assert "What is it? {text} One word." in head
    assert re.search(r"report of a run, \d+ \w+ 20\d\d", head)
    assert "the model you trust" in head
    assert "What next" in page or "what next" in page
    assert "The rows on which" in page or "rows on which the models disagree" in page
    given = Counter(row["answer"] for row in done.table)
    for label, rows in given.items():
        assert re.search(rf">{label}</th>\s*<td[^>]*>{rows:,}</td>", page)


def test_rows_are_called_by_their_own_ids(run: Made, tmp_path: Path) -> None:
    """With `id_column` rows are named as in their own table; where no text is to be kept, ids are not either."""
    run(1200, report=tmp_path / "r.html", id_column="text")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.search(r"<h4>Row [\d,]+ \(.+\)</h4>", page)
    run(1200, report=tmp_path / "s.html", id_column="text", store_text=False, ledger=tmp_path / "other.ledger.db")
    assert not re.search(r"<h4>Row [\d,]+ \(", (tmp_path / "s.html").read_text(encoding="utf-8"))
    with pytest.raises(smart.InputError, match="Did you mean text"):
        run(1200, id_column="txt")

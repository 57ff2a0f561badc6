"""One run as its ledger would have it: what was asked, answered, and recorded before the evidence was seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from smart_llm import procedures
from smart_llm.certificates import checks as verifying
from smart_llm.certificates.checks import Promise, Round
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.stats.sampling import uniforms
from smart_llm.types import Answers, Conversation, Json, Problem, Procedure, Verdict


@dataclass
class Told:
    """A run. rounds: its asks; fixed: what was decided before any evidence was seen."""

    procedure: str
    problem: Problem
    rounds: list[Round] = field(default_factory=list)
    fixed: Json = None
    outcome: Outcome | None = None

    @property
    def verdict(self) -> Verdict:
        """What came of it."""
        assert self.outcome is not None
        return self.outcome.verdict

    @property
    def evidence(self) -> Json:
        """As it comes out of a file."""
        return through_json(self.verdict.evidence)

    @property
    def names(self) -> list[str]:
        """Reference first."""
        return [self.problem.reference, *self.problem.candidates]

    @property
    def claim(self) -> Promise:
        """As a certificate has it, of the rows that were not set aside (`certificates.checks.of_population`)."""
        problem, side = self.problem, self.problem.side
        return Promise(
            rows=problem.rows,
            agreement=str(float(problem.agreement)),
            confidence=str(float(problem.confidence)),
            floor=str(float(problem.floor)),
            reserve=problem.reserve,
            set_aside=problem.set_aside,
            set_aside_errors=problem.lost,
            per_label=str(float(side.share)) if side else None,
            label_rows=side.least if side else None,
        )

    def problems(self, evidence: Json) -> list[str]:
        """What verification says of this evidence, with the ledger as it is."""
        found = verifying.recount(self.procedure, evidence, self.rounds, self.fixed, self.names)
        return found or verifying.check(self.procedure, evidence, self.claim)

    def listening(self, problem: Problem, inner: Procedure) -> Conversation:
        """The procedure, with its ledger kept beside it."""
        conversation, u = inner(problem), uniforms(problem.seed, "shares", problem.rows)
        answer: Answers | None = None
        try:
            while True:
                ask = next(conversation) if answer is None else conversation.send(answer)
                assert len(ask.positions)
                if ask.fixed is not None:
                    assert self.fixed is None
                    self.fixed = through_json(ask.fixed)
                answer = yield ask
                self.rounds.append(Round(ask.stage, ask.models, answer.marks, ask.positions, answer, u[ask.positions]))
        except StopIteration as stop:
            verdict: Verdict = stop.value
            return verdict


def told(procedure: str | Procedure, problem: Problem, people: Population) -> Told:
    """One run over a known population."""
    inner = procedures.get(procedure) if isinstance(procedure, str) else procedure
    run = Told("", problem)
    run.outcome = simulate(lambda task: run.listening(task, inner), problem, people)
    run.procedure = run.verdict.procedure
    return run


def through_json(value: Json) -> Json:
    """As it comes out of a file; numbers that JSON does not know are refused."""
    return json.loads(json.dumps(value, allow_nan=False))

"""The vocabulary: every value that passes between layers, frozen.

Two conversations meet here. A *procedure* (pure) asks for rows of the population and is sent marks (`asks`, `rules`);
a *provider* (I/O) is sent one `Request` and returns one `Answer` (`calls`). The engine translates between them. `share`
reads the shares that users write, exactly.
"""

from smart_llm.types.asks import (
    AGREE,
    BAD,
    CHOSEN,
    DEFER,
    ERROR,
    LESSON,
    NOT_ASKED,
    WORDS,
    Answers,
    Ask,
    Conversation,
    Floats,
    Ints,
    Least,
    Marks,
    Outlook,
    Problem,
    Procedure,
    SidePromise,
    Standing,
    Traits,
    Verdict,
)
from smart_llm.types.calls import Answer, Json, LongPrices, Model, Part, Rate, Request, Usage, Way
from smart_llm.types.rules import Cascade, Gate, Mix, Rule, Score, Tier

__all__ = [
    "AGREE",
    "BAD",
    "CHOSEN",
    "DEFER",
    "ERROR",
    "LESSON",
    "NOT_ASKED",
    "WORDS",
    "Answer",
    "Answers",
    "Ask",
    "Cascade",
    "Conversation",
    "Floats",
    "Gate",
    "Ints",
    "Json",
    "Least",
    "LongPrices",
    "Marks",
    "Mix",
    "Model",
    "Outlook",
    "Part",
    "Problem",
    "Procedure",
    "Rate",
    "Request",
    "Rule",
    "Score",
    "SidePromise",
    "Standing",
    "Tier",
    "Traits",
    "Usage",
    "Verdict",
    "Way",
]

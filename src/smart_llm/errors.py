"""What can go wrong, split by what the caller can do about it.

SmartError
├── InputError        fix the task, the table or the models            exit 2
├── ProviderError     a model's endpoint did not deliver
│   ├── Retryable     rate limit, timeout, overload: handled by us
│   └── Refused       authentication, quota, content policy            exit 3
├── BudgetExhausted   stopped cleanly; run again with more to go on    exit 4
├── LedgerError       the record does not verify                       exit 5
└── Interrupted       stopped by the user; run again to go on          exit 130

A message is one or two lines: what happened, on which row, option or model, and what to do next.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar, cast

from smart_llm.wording import worded


def meant(written: str, known: Iterable[str]) -> str:
    """ " Did you mean …?" where something that is known is spelt much the same; else nothing."""
    names = {name.casefold(): name for name in known}
    near = get_close_matches(written.casefold(), names, n=1, cutoff=0.6)
    return f" Did you mean {names[near[0]]}?" if near else ""


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """`TypeError` for a keyword that is not known; it names the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            raise TypeError(f"there is no option {name!r}.{meant(name, known)}")


Function = TypeVar("Function", bound=Callable[..., Any])


def named(function: Function) -> Function:
    """The function, which says what an unknown keyword was probably meant to be."""
    code = function.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @wraps(function)
    def called(*given: Any, **options: Any) -> Any:
        check_names(options, known)
        return function(*given, **options)

    return cast("Function", called)


class SmartError(Exception):
    """Anything this package raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1

    def __str__(self) -> str:
        return worded(super().__str__())


class InputError(SmartError):
    """The task, the table, the models or an option cannot be used as given."""

    exit_code = 2


class ProviderError(SmartError):
    """A model's endpoint did not deliver an answer."""

    exit_code = 3


class Retryable(ProviderError):
    """Trying again may help: rate limit, timeout, overload, dropped connection, broken reply.

    `retry_after` is in seconds, where the provider named a time; `throttled` marks a rate limit (429), which
    never uses up the tries; `paid` says that the provider may have charged for the attempt; `late` that nothing came
    within the time limit.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        throttled: bool = False,
        paid: bool = False,
        late: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.throttled = throttled
        self.paid = paid
        self.late = late


class Refused(ProviderError):
    """Trying again will not help: the key, the quota, or (where `row_only` or `maybe_row`) just this one request.

    `row_only` refusals (content policy, prompt too long) become that row's error; others stop the run. `maybe_row`
    marks a refusal of what was asked, in words that are not known (status 400, 422): the row's error as well, but many
    of them in a row stop the run. `doubtful` marks one that is everybody's as long as the model has answered nobody
    (a redirect, status 403, 404), and then may be the row's. `key` marks a key that was not accepted: whoever knows
    which variable holds it says so.
    """

    def __init__(
        self,
        message: str,
        *,
        row_only: bool = False,
        maybe_row: bool = False,
        doubtful: bool = False,
        key: bool = False,
    ) -> None:
        super().__init__(message)
        self.row_only = row_only
        self.maybe_row = maybe_row and not row_only
        self.doubtful = doubtful
        self.key = key


class BudgetExhausted(SmartError):
    """The next call could exceed the budget; everything bought so far is kept. needed: USD that would let it through,
    where that is known."""

    exit_code = 4

    def __init__(self, message: str, *, needed: float = 0.0) -> None:
        super().__init__(message)
        self.needed = needed


class LedgerError(SmartError):
    """The record, or a certificate, does not verify."""

    exit_code = 5


class Interrupted(SmartError):
    """The user stopped the run; what was in flight was kept."""

    exit_code = 130

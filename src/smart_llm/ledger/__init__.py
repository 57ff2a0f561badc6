"""The ledger: an append-only SQLite file of everything asked, answered, paid and decided."""

from smart_llm.ledger.keys import canonical, request_key, tagged
from smart_llm.ledger.reader import Reader, RunRecord
from smart_llm.ledger.store import Ledger

__all__ = ["Ledger", "Reader", "RunRecord", "canonical", "request_key", "tagged"]

"""A model endpoint to test against: it speaks the OpenAI protocol over real sockets and fails as real ones do."""

from smart_llm.mock.faults import Faults
from smart_llm.mock.limits import Limits
from smart_llm.mock.server import MockServer, serve

__all__ = ["Faults", "Limits", "MockServer", "serve"]

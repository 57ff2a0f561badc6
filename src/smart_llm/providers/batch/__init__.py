"""Providers' batch APIs: many requests as one piece, answered within a day, at half the price."""

from smart_llm.providers.batch.base import BatchApi, Found, Gone, Limits, Look, Result, is_ours
from smart_llm.providers.batch.registry import batch_api, known

__all__ = ["BatchApi", "Found", "Gone", "Limits", "Look", "Result", "batch_api", "is_ours", "known"]

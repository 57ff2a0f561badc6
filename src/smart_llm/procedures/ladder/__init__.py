"""The default: per-row routing where a score pays, the exact mix where it does not."""

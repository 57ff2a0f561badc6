"""The append-only record of every ask, answer, price and decision."""

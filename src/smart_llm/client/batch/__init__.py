"""The same by batch: many requests as one piece, at half the price."""

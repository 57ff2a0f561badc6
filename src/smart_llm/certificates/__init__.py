"""The promise in one value, and its checking."""

"""How many calls are in flight and how long is waited, unless the user says otherwise: for options and the client."""

CONCURRENCY = 64
"""Calls in flight per model, at most."""
TIMEOUT = 120.0
"""Seconds that one call may take."""
PATIENCE = 600.0
"""Seconds that a model which answers nobody is waited for, until the run stops."""

"""What holds unless the user says otherwise, where several rooms must know it."""

CONCURRENCY = 64
"""Calls in flight per model, at most."""
TIMEOUT = 120.0
"""Seconds that one call may take."""
PATIENCE = 600.0
"""Seconds that a model which answers nobody is waited for, until the run stops."""
PROCEDURE = "ladder"
"""How a run certifies; the newest version of that name."""

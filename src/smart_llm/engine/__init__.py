"""Where pure meets I/O: run, resume, replay, simulate."""

"""The blind mix: which model answers is chosen without looking at the row."""

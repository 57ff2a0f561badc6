"""Confidence limits, sampling orders: numpy and scipy only; knows nothing of rows, models or files."""

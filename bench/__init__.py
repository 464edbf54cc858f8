"""Measurements, side by side with what one would use instead: `python -m bench.pipeline`, `python -m bench.latency`."""

"""Benchmarks: what this machine's daemons do, as ratios to what the machine can do. Never a timed test."""

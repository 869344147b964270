"""Measured ratios against peers and limits, one file a claim; `make bench` runs them all."""

"""Keeps, tells and reports what proves misconduct."""

"""Runs with real molecules."""

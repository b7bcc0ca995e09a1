"""Runs on properties (``model: deq``)."""

"""Runs with one-dimensional molecules (``model: ksr``)."""

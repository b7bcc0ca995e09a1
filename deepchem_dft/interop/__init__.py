"""The outside world, one file per neighbour."""

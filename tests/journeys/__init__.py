"""A day's work through the command line, one test for each task, as a user would do it."""

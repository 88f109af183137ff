"""Records -> the numbers and sentences of the report."""

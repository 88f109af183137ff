"""A file of rows -> checked rows with labels, groups and columns."""

"""A folder, or a table -> the files that may be images, and what is said of each."""

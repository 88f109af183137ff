"""A folder, or a table -> the files that may be images, with class, part and group."""

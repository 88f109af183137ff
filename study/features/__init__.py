"""Images -> rows of a frozen base, computed once for each content; or rows from a file."""

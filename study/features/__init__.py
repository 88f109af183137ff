"""Images -> rows of a frozen VGG16, computed once for each content; or rows from a file."""

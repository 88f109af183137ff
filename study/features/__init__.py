"""Turn images into feature rows with a frozen base, once for each image content."""

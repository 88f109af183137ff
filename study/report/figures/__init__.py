"""Summary -> pictures."""

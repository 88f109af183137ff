"""`Examples` -> the rows of training, validation and test, by units that never part."""

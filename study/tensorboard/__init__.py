"""Records -> what TensorBoard reads: curves, the HParams table, images, text; no TensorFlow."""

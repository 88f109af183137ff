"""What may be claimed of optimizers, and when a study may stop."""

"""A study on a Ray cluster: one worker a GPU, or a machine without; the driver keeps the rest.

Oracles, records and caches stay in the driver (this process), so what makes a study resumable is
what it was. A worker is an actor around an unmodified `Population`; it is sent populations and
images, and sends results and rows back. It keeps nothing that cannot be made again: what a lost
worker was doing is dealt out anew (`study.training.places`).
"""

"""The machines that inspect images, compute rows and train heads: this process or a Ray cluster.

The search knows only a `Machines`; `opened` decides which kind it is. On a cluster the oracles,
records and caches stay in the driver (this process), so a study resumes in the same way on either.
A worker is an actor around an unmodified `LocalTrainer`; it receives populations and images and
returns results and rows. It keeps nothing that cannot be made again, so the work of a lost worker
is reassigned (`study.training.places`).
"""

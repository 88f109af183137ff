"""Who looks at images, computes rows and trains heads: this process, or workers of a Ray cluster.

The search speaks to a `Machines` and knows no more; `opened` says which kind it is. Of a cluster,
oracles, records and caches stay in the driver (this process), so what makes a study resumable is
the same for both. A worker is an actor around an unmodified `LocalTrainer`; it is sent populations
and images, and sends results and rows back. It keeps nothing that cannot be made again: what a lost
worker was doing is dealt out anew (`study.training.places`).
"""

"""Training by several processes: ranks, shards, sums beside the backward pass, a watchdog."""

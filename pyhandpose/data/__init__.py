"""From a disk or a generator to a typed batch of hand images."""

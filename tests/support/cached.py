"""What a cache keeps of one loan."""


def cached(cache, cluster, loan_id):
    """The loan's timeline, or None."""
    return cache.get_many(cluster, [loan_id]).get(loan_id)

"""Read access to one entry of a cache."""


def cached(cache, cluster, loan_id):
    """Return the cached timeline of a loan, or None."""
    return cache.get_many(cluster, [loan_id]).get(loan_id)

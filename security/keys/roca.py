"""Detection of RSA keys with the ROCA weakness (CVE-2017-15361), which can be factored.

The affected chips built each prime as k * M + 65537^a mod M, where M is a product of small primes. Therefore the
modulus is a power of 65537 modulo each of these primes. Of other keys, one in 2^27.8 has the same property. The source
of the test is M. Nemec, M. Sys, P. Svenda, D. Klinec and V. Matyas, "The Return of Coppersmith's Attack: Practical
Factorization of Widely Used RSA Moduli", ACM CCS 2017.
"""

GENERATOR = 65537
LARGEST_PRIME = 167  # of the product M for the shortest keys, which divides that for longer keys


def _powers(prime: int) -> frozenset[int]:
    """Return the subgroup that the generator generates modulo a prime."""
    found: set[int] = set()
    power = 1
    while power not in found:
        found.add(power)
        power = power * GENERATOR % prime
    return frozenset(found)


_SUBGROUPS = {
    number: _powers(number)
    for number in range(3, LARGEST_PRIME + 1)
    if all(number % divisor for divisor in range(2, number))
}


def has_fingerprint(modulus: int) -> bool:
    """Return whether a modulus has the fingerprint of the affected chips."""
    return all(modulus % prime in powers for prime, powers in _SUBGROUPS.items())

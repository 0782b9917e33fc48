"""RSA keys that are restricted to the signature scheme RSASSA-PSS (RFC 4055, section 1.2).

Parsers return such a key as a usual RSA key, without the restriction, so it is read from the encoding.
"""

_RSA = bytes.fromhex("06092a864886f70d010101")  # the object identifier rsaEncryption
_PSS = bytes.fromhex("06092a864886f70d01010a")  # id-RSASSA-PSS
_HASHES = {
    "PS256": bytes.fromhex("0609608648016503040201"),  # id-sha256
    "PS384": bytes.fromhex("0609608648016503040202"),  # id-sha384
    "PS512": bytes.fromhex("0609608648016503040203"),  # id-sha512
}
_SEQUENCE = 0x30


def restriction(der: bytes, modulus: int) -> list[str] | None:
    """Return the only algorithms of an RSA key, or None if its encoding does not restrict it.

    Args:
        der: The encoding of the key, or of a certificate with the key.
        modulus: The modulus of the key.
    """
    # The algorithm and its parameters precede the modulus. Other algorithms may precede them in a certificate.
    before = der[: der.find(modulus.to_bytes((modulus.bit_length() + 7) // 8, "big"))]
    start = before.rfind(_PSS)
    if start <= before.rfind(_RSA):
        return None
    parameters = before[start + len(_PSS) :]
    if parameters[0] != _SEQUENCE:  # RFC 4055, section 3.1: without parameters, the key may use any hash function
        return list(_HASHES)
    return [algorithm for algorithm, identifier in _HASHES.items() if identifier in parameters]

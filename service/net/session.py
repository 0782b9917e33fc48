"""HTTP sessions that connect directly to servers of the same platform."""

import requests
import urllib3


def direct_session(ca_file: str | None = None, *, verify: bool = True) -> requests.Session:
    """Return a session that ignores the environment's proxies, `.netrc` and certificate bundles.

    The servers of a platform are reached without a proxy, and the credentials in the environment belong to others.

    Args:
        ca_file: PEM file with the authorities that the server's certificate is verified against; by default those that
            `requests` trusts.
        verify: Whether to verify certificates. False is only for requests of a process to its own address, which its
            certificate need not name; `ca_file` is then ignored.
    """
    session = requests.Session()
    session.trust_env = False
    session.verify = (ca_file or True) if verify else False
    if not verify:
        # urllib3 would otherwise warn on every connection.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session

"""Check the health of the service in this container; exits with 0 if it answers.

Usage: `healthcheck.py [PATH]`; PATH defaults to /healthcheck. The image has no curl.
"""

import os
import ssl
import sys
import urllib.request

TIMEOUT_S = 2

scheme = "https" if os.environ.get("TLS_CERT") else "http"
path = sys.argv[1] if len(sys.argv) > 1 else "/healthcheck"
url = f"{scheme}://127.0.0.1:{os.environ.get('PORT') or 5555}{path}"
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE  # the certificate does not name 127.0.0.1
urllib.request.urlopen(url, timeout=TIMEOUT_S, context=tls).close()  # noqa: S310  (always http or https)

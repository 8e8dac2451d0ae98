"""The image's health check: exit code 0 when the server in this container is ready, 1 with the reason when it is not.

Runs every few seconds, so it imports little; and it reads the environment only, where the image's settings are.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping

TIMEOUT_S = 4.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound


def problem(environment: Mapping[str, str]) -> str:
    """Why the server that ``environment`` describes is not ready; empty when it is."""
    connection = _connection(environment)
    try:
        connection.connect()
        if environment.get("TENSORHOST_TLS_CLIENT_CA"):
            return ""  # it answers nobody without a certificate, and this check has none
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        text = answer.read(1000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error!r}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"status {answer.status}: {text}"


def _connection(environment: Mapping[str, str]) -> http.client.HTTPConnection:
    host = environment.get("HOST", "")
    host, port = _EVERY_ADDRESS.get(host, host), int(environment.get("PORT") or 3000)
    if not environment.get("TENSORHOST_TLS_CERTFILE"):
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    # Its certificate is for the name that clients use, not for this address.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def main() -> int:
    """Print the problem, if there is one; the exit code."""
    found = problem(os.environ)
    if found:
        print(found)  # noqa: T201 - shown by `docker inspect`
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

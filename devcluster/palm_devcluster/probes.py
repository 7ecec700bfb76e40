"""Health checks over loopback."""

import ssl
import urllib.error
import urllib.request

from palm_devcluster.pki import Pki
from palm_devcluster.processes import Probe

_TIMEOUT_S = 5.0


def https_probe(pki: Pki, port: int, path: str, *, client: str | None = None) -> Probe:
    """Return a check that ``path`` answers 200, over TLS that the cluster's CA vouches for.

    Args:
        pki: The cluster's certificates.
        port: Port on 127.0.0.1.
        path: For example ``/healthz``.
        client: Name of the certificate to call with; none by default.
    """

    def probe() -> str | None:
        context = ssl.create_default_context(cafile=str(pki.ca))
        if client is not None:
            context.load_cert_chain(pki.certificate(client), pki.key(client))
        return _trouble(
            f"https://127.0.0.1:{port}{path}", urllib.request.HTTPSHandler(context=context)
        )

    return probe


def http_probe(port: int, path: str) -> Probe:
    """Return a check that ``path`` answers 200 over plain HTTP."""
    return lambda: _trouble(f"http://127.0.0.1:{port}{path}")


def _trouble(url: str, *handlers: urllib.request.BaseHandler) -> str | None:
    # A proxy of the environment does not reach this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
    try:
        with opener.open(url, timeout=_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"{url} does not answer: {error}"

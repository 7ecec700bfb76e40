"""Tokens and certificates from mounted files, read again when they change."""

import asyncio
import hashlib
import hmac
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from palm_gateway.answers import Header, Refusal

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_LARGEST_FILE = 64 * 1024


class Tokens:
    """Bearer tokens of which a request must have one; no file: nobody needs one."""

    def __init__(self, file: Path | None) -> None:
        """Read the file.

        Raises:
            ValueError: It cannot be read or holds no token.
        """
        self._file = file
        self._digests: tuple[bytes, ...] = ()
        if file is not None:
            self.read()

    def read(self) -> None:
        """Take the tokens that the file holds now.

        Raises:
            ValueError: It cannot be read or holds no token; the tokens before stay.
        """
        if self._file is None:
            return
        try:
            lines = self._file.read_bytes()[:_LARGEST_FILE].splitlines()
        except OSError as error:
            raise ValueError(f"token file {self._file} cannot be read: {error.strerror}") from None
        digests = tuple(_digest(token) for line in lines if (token := line.strip()))
        if not digests:
            raise ValueError(f"token file {self._file} holds no token")
        self._digests = digests

    def check(self, headers: Sequence[Header]) -> None:
        """Raise Refusal unless the request has a token, in time that tells nothing of it."""
        if self._file is None:
            return
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
        digest = _digest(token.strip())
        # All are compared, and digests: neither place nor length of a difference shows.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if scheme.lower() != b"bearer" or not any(matches):
            raise Refusal(
                401,
                "a bearer token is needed: Authorization: Bearer …",
                "invalid_api_key",
                headers=((b"www-authenticate", b"Bearer"),),
            )


class Certificate:
    """The server's certificate; a renewed one is used for new connections."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            ValueError: They are no certificate and key that belong together.
        """
        self._certificate, self._key = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.read()

    def read(self) -> None:
        """Take the certificate that the files hold now.

        Raises:
            ValueError: They are no certificate and key that belong together; those before stay.
        """
        try:
            # Tried elsewhere first: a context that failed to load half of a pair keeps neither.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
            self.context.load_cert_chain(self._certificate, self._key)
        except OSError as error:  # SSLError is one
            raise ValueError(
                f"certificate {self._certificate} and key {self._key} cannot be used: "
                f"{type(error).__name__}"
            ) from None


async def keep_reading(*sources: Tokens | Certificate) -> None:
    """Read files again every few seconds, for ever; what cannot be read leaves the last in use."""
    complaint: dict[int, str] = {}
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for index, source in enumerate(sources):
            try:
                source.read()
                complaint.pop(index, None)
            except ValueError as error:
                if complaint.get(index) != str(error):
                    logger.warning("%s; the last good one stays in use", error)
                complaint[index] = str(error)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()

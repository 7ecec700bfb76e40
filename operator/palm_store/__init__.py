"""Where results live: an object store behind one small seam, and the fake that ships with it."""

from palm_store.digests import file_sha256
from palm_store.fetch import fetch
from palm_store.memory import InMemoryStore
from palm_store.s3 import S3Store
from palm_store.store import ResultStore

__all__ = ["InMemoryStore", "ResultStore", "S3Store", "fetch", "file_sha256"]

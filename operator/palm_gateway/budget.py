"""How many bytes of request bodies are held at once: a bound on memory that many share."""


class Budget:
    """Bytes that may be held; whoever takes some gives them back."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, count: int) -> bool:
        """Take bytes; say False, and take none, where there are not so many."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def give(self, count: int) -> None:
        """Give bytes back."""
        self._left += count

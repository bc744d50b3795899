"""The certificate's files on disk: were they renewed since we looked? Looking costs two stat calls, no reading."""

from pathlib import Path

Look = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate and its key. Polled, since renewal comes in many ways: written over, moved in, a link turned."""

    def __init__(self, cert: Path, key: Path) -> None:
        self.cert = cert
        self.key = key
        self._seen = self._look()

    def __repr__(self) -> str:
        return f"<Certificate {self.cert} {self.key}>"

    def changed(self) -> bool:
        """Since the last call, or since it was made? Not while a file is missing: a renewal is under way."""
        now = self._look()
        if now is None or now == self._seen:
            return False
        self._seen = now
        return True

    def _look(self) -> Look | None:
        try:
            facts = [path.stat() for path in (self.cert, self.key)]
        except OSError:
            return None
        return tuple((fact.st_mtime_ns, fact.st_size, fact.st_ino) for fact in facts)

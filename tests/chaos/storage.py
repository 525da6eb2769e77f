"""The disk of ClickHouse: a small one of its own, so that it can be full."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.embedded.clickhouse import KEEP_FREE_BYTES

DISK_BYTES: Final = 1_500_000_000
LEFT_BYTES: Final = KEEP_FREE_BYTES * 3 // 4
"""What is left is less than the server wants to keep free, and enough for the merges that it has begun."""


class Disk:
    """A tmpfs of fixed size on a directory. Needs the right to mount; without it the directory stays what it is.

    Attributes:
        path: the directory.
        mounted: whether it has a size of its own.
    """

    def __init__(self, path: Path) -> None:
        """Mount it."""
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "plaudit-chaos", str(path)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:  # no such command
            self.mounted = False

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Leave so little free that the server takes the disk for full."""
        with self._ballast.open("wb") as file:
            for block in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while self._free() > LEFT_BYTES + block:
                        file.write(b"\0" * block)
                        file.flush()

    def empty(self) -> None:
        """Free what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it; what is on it is gone. Nothing may use it any more."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=False)
            self.mounted = False

    def _free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

"""B9, the others: what a list of SHA-256 sums and a hash-chained SQLite table notice of what `bench_fed_sim` does.

    python -m benchmarks.bench_fed_peers

Each is given its best usual reader, once without a memory between two reads and once with the last head kept. What is
noticed is found by running the check. Neither can show a third party who did it: nothing in them is signed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from benchmarks._report import write

DAYS = [f"day {n}".encode() * 50 for n in range(30)]


class SumList:
    """Files and a list of their digests, as `sha256sum -c` reads it."""

    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = list(files)
        self.sums = [sha256(f).hexdigest() for f in files]

    def sound(self) -> bool:
        return [sha256(f).hexdigest() for f in self.files] == self.sums

    def keeps(self, last: tuple[int, str]) -> bool:
        """Does it go on from what was read last? A list has no order that binds: only the last sum is looked for."""
        return last[1] in self.sums

    @property
    def head(self) -> tuple[int, str]:
        return len(self.sums), self.sums[-1]


class Chain:
    """A SQLite table in which each row holds the hash of the one before."""

    def __init__(self, files: Sequence[bytes]) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE chain (n INTEGER PRIMARY KEY, data BLOB, hash TEXT)")
        last = ""
        for n, data in enumerate(files):
            last = sha256(last.encode() + data).hexdigest()
            self.db.execute("INSERT INTO chain VALUES (?, ?, ?)", (n, data, last))

    def sound(self) -> bool:
        last = ""
        for data, said in self.db.execute("SELECT data, hash FROM chain ORDER BY n"):
            last = sha256(last.encode() + data).hexdigest()
            if last != said:
                return False
        return True

    def keeps(self, last: tuple[int, str]) -> bool:
        found = self.db.execute("SELECT hash FROM chain WHERE n = ?", (last[0] - 1,)).fetchone()
        return found is not None and found[0] == last[1]

    @property
    def head(self) -> tuple[int, str]:
        n, said = self.db.execute("SELECT n + 1, hash FROM chain ORDER BY n DESC LIMIT 1").fetchone()
        return n, said


def measure(kind: type[SumList] | type[Chain]) -> dict[str, Any]:
    """What the kind notices: without memory, with the last head kept."""
    read = kind(DAYS[:20])
    head = read.head
    changed = [*DAYS[:10], b"changed", *DAYS[11:20]]
    courier = kind(DAYS[:21])
    if isinstance(courier, SumList):
        courier.files[10] = b"changed"
    else:
        courier.db.execute("UPDATE chain SET data = ? WHERE n = 10", (b"changed",))
    cases = {
        "tampered by a courier who cannot compute hashes": courier,
        "tampered, hashes made anew": kind([*changed, DAYS[20]]),
        "fork: another last day": kind([*DAYS[:19], b"another", DAYS[20]]),
        "rollback: an old backup served": kind(DAYS[:15]),
        "rollback, then other days": kind([*DAYS[:15], *(b"other %d" % n for n in range(6))]),
    }
    found = {
        name: {"without_memory": not now.sound(), "last_head_kept": not now.sound() or not now.keeps(head)}
        for name, now in cases.items()
    }
    honest = kind(DAYS[:21])
    return {"noticed": found, "false_alarm": not honest.sound() or not honest.keeps(head)}


def main() -> None:
    """Both kinds."""
    write("fed_peers", {"sha256 list": measure(SumList), "hash-chained SQLite": measure(Chain)})


if __name__ == "__main__":
    main()

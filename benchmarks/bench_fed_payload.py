"""B12: rows as canonical NDJSON in gzip or zstd and as Parquet: bytes, and rows a core second to read and check them.

    python -m benchmarks.bench_fed_payload [--runs 5]

Sizes are those of the same rows. NDJSON is read as a reader must: digest, decompression, strict decode, canonical form,
`row_root`. Parquet is read in two ways: as pyarrow gives it, digest of the file only; and so that what was signed is
proven, which means to encode its rows canonically again and to compute `row_root`.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import statistics
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from benchmarks._report import write
from benchmarks.fedsim import world
from benchmarks.fedsim._city import draw_rows
from dianhuan_federation.core import WARNING_ROWS, decode_rows, encode_rows, lines_of
from dianhuan_federation.core._rows import row_root

SIZES = (400, 5_000, 50_000, 500_000)


def core_seconds(step: Callable[[], None], runs: int, times: int) -> float:
    """Median core seconds of one of so many times, so that neighbours on the machine count less."""
    found = []
    for _ in range(runs):
        began = time.process_time()
        for _ in range(max(1, times)):
            step()
        found.append((time.process_time() - began) / max(1, times))
    return statistics.median(found)


def measure(count: int, runs: int) -> dict[str, Any]:
    """One size."""
    payload = draw_rows(random.Random(count), "430200", 1, count, world().NOW)
    root = row_root(payload)
    rows = [msgspec.json.decode(line) for line in lines_of(payload)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    parquet, zipped = sink.getvalue(), gzip.compress(payload, mtime=0)
    packed = zstandard.ZstdCompressor(3).compress(payload)

    def ndjson(opened: Callable[[], bytes], data: bytes) -> None:
        sha256(data).digest()
        decode_rows(WARNING_ROWS, opened(), count=count, root=root)

    def parquet_only() -> None:
        sha256(parquet).digest()
        assert pq.read_table(io.BytesIO(parquet)).num_rows == count

    def parquet_proven() -> None:
        sha256(parquet).digest()
        found = pq.read_table(io.BytesIO(parquet)).to_pylist()
        assert encode_rows(WARNING_ROWS, found).root == root

    work = {
        "ndjson_gzip_all_checks": lambda: ndjson(lambda: gzip.decompress(zipped), zipped),
        "ndjson_zstd_all_checks": lambda: ndjson(lambda: zstandard.ZstdDecompressor().decompress(packed), packed),
        "parquet_file_digest_only": parquet_only,
        "parquet_proven_to_the_row": parquet_proven,
    }
    rates = {
        name: round(count / core_seconds(step, 1 if count > 100_000 and "proven" in name else runs, 50_000 // count))
        for name, step in work.items()
    }
    return {
        "bytes": {"ndjson_gzip": len(zipped), "ndjson_zstd": len(packed), "parquet_zstd": len(parquet)},
        "rows_per_core_s": rates,
    }


def main() -> None:
    """All sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    write("fed_payload", {"rows": {str(count): measure(count, options.runs) for count in SIZES}})


if __name__ == "__main__":
    main()

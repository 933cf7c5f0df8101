"""The mapping engine: any tabular export into batches of a table contract.

A `Mapping` (a YAML file that a person keeps) says what the form of a file is; `read_file` streams it. Used by the
grid plugins and by `dianhuan ingest TABLE FILE`.
"""

from dianhuan_sdk.tabular._mapping import DEFAULT_MISSING, Column, Curve, Mapping, load_mapping, parse_mapping
from dianhuan_sdk.tabular._read import read_file, sha256_of
from dianhuan_sdk.tabular._source import IncompleteFileError, ensure_complete

__all__ = [
    "DEFAULT_MISSING",
    "Column",
    "Curve",
    "IncompleteFileError",
    "Mapping",
    "ensure_complete",
    "load_mapping",
    "parse_mapping",
    "read_file",
    "sha256_of",
]

"""The mapping engine: any tabular export into batches of a table contract.

A `Mapping` (a YAML file that a person keeps) says what the form of a file is; `read_file` streams it. Used by the
grid plugins and by `dianhuan ingest TABLE FILE`.
"""

from dianhuan_sdk.tabular._folder import Folder, read_in_thread, unreadable, within
from dianhuan_sdk.tabular._mapping import DEFAULT_MISSING, Column, Curve, Mapping, load_mapping, parse_mapping
from dianhuan_sdk.tabular._read import empty_rows, read_file, read_rows, sha256_of
from dianhuan_sdk.tabular._source import IncompleteFileError, ensure_complete

__all__ = [
    "DEFAULT_MISSING",
    "Column",
    "Curve",
    "Folder",
    "IncompleteFileError",
    "Mapping",
    "empty_rows",
    "ensure_complete",
    "load_mapping",
    "parse_mapping",
    "read_file",
    "read_in_thread",
    "read_rows",
    "sha256_of",
    "unreadable",
    "within",
]

"""The mapping engine: any tabular export into batches of a table contract.

A `Mapping` (a YAML file that a person keeps) says what the form of a file is; `read_file` streams it. Used by the
grid plugins and by `dianhuan ingest TABLE FILE`.
"""

from dianhuan_sdk.tabular._folder import FileReader, Folder, is_data_file, read_in_thread, read_one, unreadable, within
from dianhuan_sdk.tabular._frame import Rejects
from dianhuan_sdk.tabular._mapping import DEFAULT_MISSING, Column, Curve, Mapping, load_mapping, parse_mapping
from dianhuan_sdk.tabular._peek import Peek, peek_file
from dianhuan_sdk.tabular._points import Points, find_points
from dianhuan_sdk.tabular._read import empty_rows, read_file, read_rows, sha256_of
from dianhuan_sdk.tabular._readings import Readings
from dianhuan_sdk.tabular._source import IncompleteFileError, ensure_complete, ensure_unchanged

__all__ = [
    "DEFAULT_MISSING",
    "Column",
    "Curve",
    "FileReader",
    "Folder",
    "IncompleteFileError",
    "Mapping",
    "Peek",
    "Points",
    "Readings",
    "Rejects",
    "empty_rows",
    "ensure_complete",
    "ensure_unchanged",
    "find_points",
    "is_data_file",
    "load_mapping",
    "parse_mapping",
    "peek_file",
    "read_file",
    "read_in_thread",
    "read_one",
    "read_rows",
    "sha256_of",
    "unreadable",
    "within",
]

"""Any grid company export by a mapping file: CSV, Parquet, Excel, REST, Green Button."""

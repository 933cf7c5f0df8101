"""Signed, witnessed sharing of standardized results between city hubs and provinces."""

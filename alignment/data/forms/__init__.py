"""Rows to records: the forms in which data sets come."""

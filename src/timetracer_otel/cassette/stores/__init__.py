"""Stores: where cassettes lie. A folder of files is one of them."""

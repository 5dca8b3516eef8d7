"""Redaction: secrets are replaced before anything is stored, and before anything is matched."""

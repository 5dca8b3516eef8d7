"""What libraries above urllib3 share: its answers and errors, recorded and replayed."""

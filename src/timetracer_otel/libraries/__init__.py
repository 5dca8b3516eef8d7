"""The client libraries: one folder each, and the kits that several of them share."""

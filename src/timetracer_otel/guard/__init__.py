"""The guard of the network: no connection leaves that no plugin makes for the session."""

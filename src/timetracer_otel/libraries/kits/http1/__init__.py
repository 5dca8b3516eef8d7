"""HTTP/1.1 as bytes (RFC 9112), for clients whose seam lies above a connection."""

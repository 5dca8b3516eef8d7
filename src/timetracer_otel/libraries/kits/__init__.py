"""What several libraries share, by protocol."""

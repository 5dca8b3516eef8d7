"""What a process does of its own accord: it records each request, or replays a cassette or a folder."""

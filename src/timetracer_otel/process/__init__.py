"""What a process does because of its environment: it records each request, or replays a cassette or a folder.

For others are `process.runtime` (the one `Runtime` of the process) and `process.surroundings` (for the blocks of
`record` and `replay`).
"""

"""A library whose internals are not what we know: what recordings and replays do then."""

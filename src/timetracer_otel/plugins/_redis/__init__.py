"""How Redis connections are recorded and replayed: commands out, replies in. The seams are in `redis_plugin`."""

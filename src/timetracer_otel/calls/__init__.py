"""One call, from its seam to its answer: `flow` decides, the library states facts."""

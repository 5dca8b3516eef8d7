"""Apps that were written for the package timetracer, and the middlewares that they have here."""

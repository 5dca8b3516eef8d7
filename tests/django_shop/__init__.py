"""A small shop of Django: settings, models, migrations and views. It knows nothing of us."""

"""The dashboard: pages over the client, kept up to date by the change log. `app.py` puts it together."""

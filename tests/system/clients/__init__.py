"""The same few words, spoken by everybody who can talk to a server."""

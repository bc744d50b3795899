"""The web process: admin pages, health and metrics; in capture mode the server that takes all mail."""

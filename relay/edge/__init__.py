"""The edge: listeners and SMTP sessions that apps speak to, and who may log in."""

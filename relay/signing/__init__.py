"""Signing: DKIM keys and signatures (RFC 6376, RFC 8463)."""

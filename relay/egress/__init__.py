"""Egress: from a delivery and a source address to a reply of the recipient's server."""

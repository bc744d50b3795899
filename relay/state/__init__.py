"""State: what all workers must agree on, behind one interface: quotas and connection permits."""

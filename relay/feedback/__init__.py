"""Feedback: what replies mean, what follows from them, the event log and delivery status notifications."""

"""The command `postlane`: parse, call, print."""

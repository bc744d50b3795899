"""Policy: whose mail it is, what class and stream it has. Pure: facts come as arguments."""

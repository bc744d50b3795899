"""The spool: the durability boundary. Nobody else opens its files."""

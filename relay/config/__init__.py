"""Config: the only reader of config/ and policies/; turns files into plain, frozen values or into a list of problems."""

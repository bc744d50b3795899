"""How mail is paced towards each site."""

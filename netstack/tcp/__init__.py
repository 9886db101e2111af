"""TCP (RFC 9293): one file for each mechanism, read `arrives.py` beside section 3.10.7."""

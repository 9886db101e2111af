"""Libraries that know nothing of netstack, over it: `python -m tests.compat` (docs/compatibility.md)."""

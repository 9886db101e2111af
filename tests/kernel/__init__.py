"""The real Linux kernel on the other side of a TAP, in a network namespace made for each test."""

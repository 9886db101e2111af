"""CPython's own tests of what lives on sockets, with our module in the place of `socket`."""

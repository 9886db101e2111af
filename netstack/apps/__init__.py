"""Small programs on a stack's sockets, to be used and to be read."""

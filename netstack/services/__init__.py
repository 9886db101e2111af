"""Services: ordinary Python over the public sockets."""

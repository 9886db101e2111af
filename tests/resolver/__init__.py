"""Names: hosts, order, cache, questions and answers, and what the socket API makes of them."""

"""The link and internet layers: Ethernet, ARP, IPv4, IPv6, ICMP, neighbours, routes.

Who imports whom, from the bottom: `net`, `address`, `checksum`, `ethernet`; `link`,
where every frame leaves and arrives; `waiting`, `cache`, `neighbour`; `route`;
`arp`, `ndp`; `solicit`, which asks for link addresses; `ipv4`, `ipv6`, `fragment`;
`output`; `icmp`, `icmpv6`, `reassembly`; `input` and `timeouts`, which the engine
calls; `setup`, which Python calls.
"""

"""DHCP: messages, the client's states, and a stack that gets its address from a server made of scapy's layers."""

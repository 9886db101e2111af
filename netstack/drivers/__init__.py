"""Drivers: where a stack's frames come from and go to.

    Tap("tap0")                     the Linux kernel, through a TAP interface
    Tun("tun0")                     ... IP packets instead of Ethernet frames
    Raw("eth0")                     the network behind an interface of this host (AF_PACKET)
    Wire()                          Python, or another stack, in memory
    Impaired(driver, loss=0.01)     any of them behind a bad network
    CaptureFile("a.pcapng")         what went over them, for Wireshark
"""
from .base import Driver
from .impaired import Gilbert, Impaired
from .loopback import Loopback
from .pcapfile import CaptureFile
from .raw import Raw
from .tap import Tap, Tun
from .wire import Wire

__all__ = ["CaptureFile", "Driver", "Gilbert", "Impaired", "Loopback", "Raw", "Tap", "Tun", "Wire"]

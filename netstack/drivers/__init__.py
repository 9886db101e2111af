"""Drivers: where a stack's frames come from and go to.

    Tap("tap0")                     the Linux kernel, through a TAP interface
    Wire()                          Python, or another stack, in memory
    Impaired(driver, loss=0.01)     any of them behind a bad network
    CaptureFile("a.pcapng")         what went over them, for Wireshark
"""
from .base import Driver
from .impaired import Gilbert, Impaired
from .loopback import Loopback
from .pcapfile import CaptureFile
from .tap import Tap
from .wire import Wire

__all__ = ["CaptureFile", "Driver", "Gilbert", "Impaired", "Loopback", "Tap", "Wire"]

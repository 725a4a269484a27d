"""Finds the pages of a heap that a message wrote, with the kernel's help where it offers it.

Linux 6.7 and later note writes to pages of a range registered with a userfaultfd in asynchronous
write-protect mode, and PAGEMAP_SCAN lists and protects them again in one call. Elsewhere there is no tracker,
and whoever wants to undo a message has to copy the whole heap.

Structures are those of ``linux/userfaultfd.h`` and ``linux/fs.h``::

    uffdio_api       u64 api, u64 features, u64 ioctls
    uffdio_register  u64 start, u64 length, u64 mode, u64 ioctls
    pm_scan_arg      u64 size, flags, start, end, walk_end, vec, vec_len, max_pages,
                     category_inverted, category_mask, category_anyof_mask, return_mask
    page_region      u64 start, end, categories
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from functools import cache

_SYSCALL_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
_USER_MODE_ONLY = 1
_API = 0xAA
_FEATURES = (1 << 13) | (1 << 15)
"""UFFD_FEATURE_WP_UNPOPULATED and UFFD_FEATURE_WP_ASYNC."""
_UFFDIO_API = 0xC018AA3F
_UFFDIO_REGISTER = 0xC020AA00
_REGISTER_MODE_WP = 2
_PAGEMAP_SCAN = 0xC0606610
_SCAN = 2
"""PM_SCAN_CHECK_WPASYNC."""
_SCAN_AND_PROTECT = 3
"""The same with PM_SCAN_WP_MATCHING."""
_PROTECT_EVERY = 16
"""Looks after which all written pages are protected again."""
_MOST_UNPROTECTED = 1 << 20
"""Bytes that may stay unprotected: copying them takes some 50 microseconds."""
_PAGE_IS_WRITTEN = 2
_REGIONS = 2048
_HEAP_RESERVATION = 4 << 30
"""Address space wasmtime reserves for a 32-bit memory: registered as a whole, so that it may grow."""


@cache
def _descriptors(_process: int) -> tuple[int, int] | None:
    """A process's own userfaultfd and page map, opened by it, or None where the kernel doesn't offer both."""
    number = _SYSCALL_USERFAULTFD.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    faults = libc.syscall(number, os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY)
    if faults < 0:
        return None
    try:
        fcntl.ioctl(faults, _UFFDIO_API, bytearray(struct.pack("QQQ", _API, _FEATURES, 0)))
        return faults, os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(faults)
        return None


class DirtyPages:
    """The pages written in one heap since the last look."""

    def __init__(self, base: int) -> None:
        self._process = 0
        self._page_map: int | None = None
        self._base = base
        self._regions = (ctypes.c_uint64 * (3 * _REGIONS))()
        regions = ctypes.addressof(self._regions)
        self._argument = (ctypes.c_uint64 * 12)(
            96, 0, 0, 0, 0, regions, _REGIONS, 0, 0, _PAGE_IS_WRITTEN, 0, _PAGE_IS_WRITTEN
        )
        self._takes = 0

    @staticmethod
    def offered() -> bool:
        """Whether this kernel can tell which pages were written."""
        return _descriptors(os.getpid()) is not None

    @staticmethod
    def track(base: int) -> DirtyPages | None:
        """Start tracking the heap at an address; None where that can't be done."""
        tracker = DirtyPages(base)
        tracker._register(os.sysconf("SC_PAGE_SIZE"))
        return None if tracker._page_map is None else tracker

    def _register(self, size: int) -> None:
        """Have this process's kernel note writes to the heap, of which ``size`` bytes are in use, from now on."""
        self._process = os.getpid()
        self._page_map = None
        descriptors = _descriptors(self._process)
        if descriptors is None:
            return
        faults, self._page_map = descriptors
        register = bytearray(struct.pack("QQQQ", self._base, _HEAP_RESERVATION, _REGISTER_MODE_WP, 0))
        try:
            fcntl.ioctl(faults, _UFFDIO_REGISTER, register)
            self._takes = 0
            self.take(size)
        except OSError:
            self._page_map = None

    def take(self, size: int) -> list[tuple[int, int]]:
        """Ranges (offset, length) within the first ``size`` bytes: those written since they were last taken.

        Pages that were written before may be among them, too: messages mostly write the same pages, and a write to a
        page that isn't protected costs nothing. All are protected again once they have become too many.

        In a fork the first time it is everything: a copy of a process takes over neither what the kernel noted nor that
        it notes anything, and the page map that was opened before is the other process's.
        """
        if self._process != os.getpid():
            self._register(size)
            return [(0, size)]
        if self._page_map is None:
            return [(0, size)]
        protect = self._takes % _PROTECT_EVERY == 0
        self._takes += 1
        found = self._scan(size, _SCAN_AND_PROTECT if protect else _SCAN)
        if not protect and sum(length for _, length in found) > _MOST_UNPROTECTED:
            self._takes = 1
            self._scan(size, _SCAN_AND_PROTECT)
        return found

    def _scan(self, size: int, flags: int) -> list[tuple[int, int]]:
        assert self._page_map is not None
        argument = self._argument
        argument[1] = flags
        argument[2], argument[3] = self._base, self._base + size
        found = []
        while argument[2] < argument[3]:
            count = fcntl.ioctl(self._page_map, _PAGEMAP_SCAN, argument)
            regions = self._regions[: 3 * count]
            found += [(start - self._base, end - start) for start, end in zip(regions[::3], regions[1::3], strict=True)]
            argument[2] = argument[4]
        return found

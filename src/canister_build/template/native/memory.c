/* memcpy, memmove and memset as the one WebAssembly instruction that each of them is, and memcmp by eight bytes.
 * The distribution's C library is built without bulk memory and copies word by word, at four to six instructions a
 * byte; it compares byte by byte, at eight. Not for anything else of <string.h>. */

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict target, const void *restrict source, size_t size)
{
    return __builtin_memcpy(target, source, size);
}

void *memmove(void *target, const void *source, size_t size)
{
    return __builtin_memmove(target, source, size);
}

void *memset(void *target, int byte, size_t size)
{
    return __builtin_memset(target, byte, size);
}

static uint64_t word(const unsigned char *bytes)
{
    uint64_t value;
    __builtin_memcpy(&value, bytes, sizeof value);
    return value;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const unsigned char *a = left, *b = right;
    while (size >= sizeof(uint64_t)) {
        uint64_t x = word(a), y = word(b);
        if (x != y) return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
        a += sizeof x;
        b += sizeof y;
        size -= sizeof x;
    }
    for (; size; a++, b++, size--)
        if (*a != *b) return *a - *b;
    return 0;
}

int bcmp(const void *left, const void *right, size_t size) { return memcmp(left, right, size); }

/* memcpy, memmove and memset as the one WebAssembly instruction that each of them is.
 * The distribution's C library is built without bulk memory and copies word by word, at four to six instructions a
 * byte. Not for anything else of <string.h>. */

#include <stddef.h>

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

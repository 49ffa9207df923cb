/*
 * What compilers call for structures, whatever they are told about the library: the C names, which GCC calls, and
 * those of the run-time ABI for the ARM architecture (4.3.4), which clang calls.
 *
 * They lie in front of the vector table.
 */
#include <stdint.h>

typedef __SIZE_TYPE__ size;

#define FIRST __attribute__((section(".text.first"), used))
#define ALIAS(name) __attribute__((alias(name), used))

FIRST void *memset(void *target, int value, size count)
{
    volatile uint8_t *byte = target;

    while (count-- != 0) {
        *byte++ = (uint8_t)value;
    }
    return target;
}

FIRST void *memcpy(void *restrict target, const void *restrict source, size count)
{
    volatile uint8_t *to = target;
    const uint8_t *from = source;

    while (count-- != 0) {
        *to++ = *from++;
    }
    return target;
}

FIRST void __aeabi_memclr(void *target, size count)
{
    memset(target, 0, count);
}

FIRST void __aeabi_memcpy(void *restrict target, const void *restrict source, size count)
{
    memcpy(target, source, count);
}

ALIAS("__aeabi_memclr") void __aeabi_memclr4(void *target, size count);
ALIAS("__aeabi_memclr") void __aeabi_memclr8(void *target, size count);
ALIAS("__aeabi_memcpy") void __aeabi_memcpy4(void *restrict target, const void *restrict source, size count);
ALIAS("__aeabi_memcpy") void __aeabi_memcpy8(void *restrict target, const void *restrict source, size count);

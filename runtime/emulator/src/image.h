// What an emulated CUBIN is: a shared object of the processor and behind it a mark with the sum of its bytes.
#pragma once
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAGIC "emulated"

struct image_mark {
    char magic[8];
    uint64_t sum;
};

static inline size_t image_bytes(const Elf64_Ehdr& head) { return head.e_shoff + (size_t)head.e_shnum * head.e_shentsize; }

// FNV-1a.
static inline uint64_t image_sum(const char* bytes, size_t count) {
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i++) sum = (sum ^ (unsigned char)bytes[i]) * 0x100000001b3;
    return sum;
}

/* Any bytes as a header: parsed or refused; what is parsed packs back to the same bytes. */
#include "wire/header.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct header header;
    if (header_parse(data, size, &header) != HEADER_OK)
        return 0;
    uint8_t again[HEADER_BYTES];
    header_pack(&header, again);
    if (memcmp(again, data, HEADER_BYTES) != 0)
        abort();
    return 0;
}

/* A ring buffer for one reader and one writer. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_SIZE 256

typedef struct {
    uint8_t bytes[RING_SIZE];
    size_t head;  /* index of the oldest byte */
    size_t count; /* how many bytes are in it */
} ring_t;

/* Append a byte; return false if the ring is full. */
bool ring_put(ring_t *ring, uint8_t byte)
{
    if (ring->count == RING_SIZE)
        return false;
    ring->bytes[(ring->head + ring->count) % RING_SIZE] = byte;
    ring->count++;
    return true;
}

/* Take the oldest byte; return false if the ring is empty. */
bool ring_get(ring_t *ring, uint8_t *byte)
{
}

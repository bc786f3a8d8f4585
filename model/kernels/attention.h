/* Attention over a cache that grows at its end.
 *
 * Keys lie transposed in blocks of 16 slots ([slot / 16][dimension][16]), values slot by
 * slot, both per layer and head, so that scores and sums need no sum across lanes.
 * Numbers are floats, bfloat16, or bytes with one scale per slot and head.
 *
 * The softmax runs over chunks of slots as in Dao et al., "FlashAttention"
 * (arXiv:2205.14135). Chunks begin at fixed slots, so a token's result does not depend
 * on how many tokens are computed with it, nor on which threads do it.
 */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "pool.h"
#include "simd.h"

enum { SLOTS = 128, QUERIES = 8, MOST_DIMENSIONS = 256 };
enum Kind { CACHE_F32, CACHE_BF16, CACHE_Q8 };

typedef struct {
  uint8_t *keys, *values;             /* [layers, heads, capacity, dimensions] */
  float *key_scales, *value_scales;   /* [layers, heads, capacity]; bytes only */
  int64_t capacity;                   /* slots, a multiple of SLOTS */
  int32_t kind, unused;
} Cache;

INLINE int number_bytes(int kind) {
  return kind == CACHE_F32 ? 4 : kind == CACHE_BF16 ? 2 : 1;
}

INLINE v16f load_numbers(int kind, const uint8_t *p) {
  return kind == CACHE_F32 ? load_f32(p) : kind == CACHE_BF16 ? load_bf16(p) : load_s8(p);
}

static void put_number(int kind, uint8_t *base, int64_t index, float x, float inverse) {
  if (kind == CACHE_F32) {
    ((float *)base)[index] = x;
  } else if (kind == CACHE_BF16) {
    ((uint16_t *)base)[index] = to_bf16(x);
  } else {
    ((int8_t *)base)[index] = (int8_t)lrintf(x * inverse);
  }
}

static float byte_scale(const float *x, int dimensions) {
  float most = 0;
  for (int i = 0; i < dimensions; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
  return most / 127;
}

/* Put one head's key and value of one token into a slot. */
static void store_slot(const Cache *c, int64_t head, int64_t slot, int dimensions,
                       const float *key, const float *value) {
  int64_t base = head * c->capacity * dimensions;
  float key_scale = 0, value_scale = 0;
  if (c->kind == CACHE_Q8) {
    key_scale = byte_scale(key, dimensions);
    value_scale = byte_scale(value, dimensions);
    c->key_scales[head * c->capacity + slot] = key_scale;
    c->value_scales[head * c->capacity + slot] = value_scale;
    key_scale = key_scale > 0 ? 1 / key_scale : 0;
    value_scale = value_scale > 0 ? 1 / value_scale : 0;
  }
  int64_t transposed = base + slot / 16 * 16 * dimensions + slot % 16;
  for (int i = 0; i < dimensions; i++) {
    put_number(c->kind, c->keys, transposed + 16 * i, key[i], key_scale);
    put_number(c->kind, c->values, base + slot * dimensions + i, value[i], value_scale);
  }
}

typedef struct {
  const Cache *cache;
  const float *queries;    /* [tokens, query_stride], this layer's heads first */
  float *out;              /* [tokens, heads * dimensions] */
  int64_t query_stride;
  int layer, num_heads, num_cache_heads, dimensions;
  int num_tokens, first_slot, window;
  int num_branches, num_shared; /* branches > 1: see decoder.c */
  int num_chunks;
} Attention;

/* The position of a token, which is not its slot where branches lie interleaved. */
INLINE int position_of(int first_slot, int token, int num_branches, int num_shared) {
  return num_branches > 1 ? num_shared + (first_slot - num_shared) / num_branches
                          : first_slot + token;
}

/* Slots that a token sees: first to last, and of those after the shared ones only
 * every num_branches-th. */
static void visible(const Attention *a, int token, int *first, int *last) {
  int position = position_of(a->first_slot, token, a->num_branches, a->num_shared);
  int start = a->window && position + 1 > a->window ? position + 1 - a->window : 0;
  if (a->num_branches > 1 && start > a->num_shared)
    start = a->num_shared + (start - a->num_shared) * a->num_branches;
  *first = start;
  *last = a->first_slot + token + 1;
}

/* What a tile of queries has seen so far: the largest score, the sum of the weights
 * and the weighted sum of the values. */
typedef struct {
  float most[QUERIES], total[QUERIES];
  v16f sum[QUERIES][MOST_DIMENSIONS / 16];
} Seen;

static void begin(Seen *seen, int count, int num_vectors) {
  for (int r = 0; r < count; r++) {
    seen->most[r] = -INFINITY;
    seen->total[r] = 0;
    for (int i = 0; i < num_vectors; i++) seen->sum[r][i] = splat(0);
  }
}

/* Scores of ``count`` queries with 16 slots, for each kind of number. */
INLINE void score_block(int kind, int count, const uint8_t *keys, int dimensions,
                        const float *const *queries, v16f *scores) {
  for (int r = 0; r < count; r++) scores[r] = splat(0);
  for (int i = 0; i < dimensions; i++) {
    v16f key = load_numbers(kind, keys + 16 * i * number_bytes(kind));
    for (int r = 0; r < count; r++)
      scores[r] = fma16(key, splat(queries[r][i]), scores[r]);
  }
}

INLINE void add_values(int kind, int count, const uint8_t *values, int dimensions,
                       int num_slots, float weights[QUERIES][SLOTS], Seen *seen) {
  for (int d = 0; d < dimensions / 16; d++) {
    v16f sum[QUERIES];
    for (int r = 0; r < count; r++) sum[r] = seen->sum[r][d];
    for (int s = 0; s < num_slots; s++) {
      v16f value =
          load_numbers(kind, values + ((int64_t)s * dimensions + 16 * d) * number_bytes(kind));
      for (int r = 0; r < count; r++)
        sum[r] = fma16(value, splat(weights[r][s]), sum[r]);
    }
    for (int r = 0; r < count; r++) seen->sum[r][d] = sum[r];
  }
}

#define WITH_KIND(k, call)                                                             \
  switch (k) {                                                                         \
    case CACHE_F32: { enum { KIND = CACHE_F32 }; call; break; }                        \
    case CACHE_BF16: { enum { KIND = CACHE_BF16 }; call; break; }                      \
    default: { enum { KIND = CACHE_Q8 }; call; break; }                                \
  }

static void score(int kind, int count, const uint8_t *keys, int dimensions,
                  const float *const *queries, v16f *scores) {
  WITH_KIND(kind, WITH_COUNT(count, score_block(KIND, COUNT, keys, dimensions,
                                                  queries, scores)))
}

static void add(int kind, int count, const uint8_t *values, int dimensions,
                int num_slots, float weights[QUERIES][SLOTS], Seen *seen) {
  WITH_KIND(kind, WITH_COUNT(count, add_values(KIND, COUNT, values, dimensions,
                                                 num_slots, weights, seen)))
}

/* Let ``count`` queries (rows ``row`` on, of one cache head) see one chunk of slots. */
static void see_chunk(const Attention *a, int head, int row, int count, int chunk,
                      Seen *seen) {
  const Cache *c = a->cache;
  int group = a->num_heads / a->num_cache_heads, dimensions = a->dimensions;
  int64_t plane = (int64_t)a->layer * a->num_cache_heads + head;
  int64_t base = plane * c->capacity;
  int bytes = number_bytes(c->kind), start = chunk * SLOTS;
  const float *queries[QUERIES];
  int first[QUERIES], last[QUERIES], end = 0, begin_slot = start + SLOTS;
  float weights[QUERIES][SLOTS];
  float scale = 1 / sqrtf((float)dimensions);

  for (int r = 0; r < count; r++) {
    int token = (row + r) / group;
    queries[r] = a->queries + token * a->query_stride +
                 (head * group + (row + r) % group) * dimensions;
    visible(a, token, &first[r], &last[r]);
    if (last[r] > end) end = last[r];
    if (first[r] < begin_slot) begin_slot = first[r];
  }
  if (end > start + SLOTS) end = start + SLOTS;
  if (end <= start || begin_slot >= end) return;
  for (int block = start / 16; block * 16 < end; block++) {
    v16f scores[QUERIES] = {{0}};
    score(c->kind, count, c->keys + (base + block * 16) * dimensions * bytes, dimensions,
          queries, scores);
    v16f by = splat(scale);
    if (c->kind == CACHE_Q8) by = by * load_f32(c->key_scales + base + block * 16);
    for (int r = 0; r < count; r++)
      store_f32(&weights[r][block * 16 - start], scores[r] * by);
  }
  int num_slots = end - start, whole = (num_slots + 15) / 16 * 16;
  for (int r = 0; r < count; r++) {
    int token = (row + r) / group;
    int all_seen = first[r] <= start && last[r] >= start + whole &&
                   (a->num_branches == 1 || start + whole <= a->num_shared);
    for (int s = 0; s < whole && !all_seen; s++) {
      int slot = start + s;
      int seen_here = slot >= first[r] && slot < last[r];
      if (a->num_branches > 1 && slot >= a->num_shared)
        seen_here &= (slot - a->num_shared) % a->num_branches == token;
      if (!seen_here) weights[r][s] = -INFINITY;
    }
    v16f most = splat(seen->most[r]);
    for (int s = 0; s < whole; s += 16) most = max16(most, load_f32(&weights[r][s]));
    float now = largest16(most);
    if (now == -INFINITY) {
      for (int s = 0; s < whole; s++) weights[r][s] = 0;
      continue;
    }
    v16f total = splat(0);
    for (int s = 0; s < whole; s += 16) {
      v16f difference = load_f32(&weights[r][s]) - splat(now);
      v16i seen_here = difference > splat(-80.0f);
      v16f weight = (v16f)((v16i)exp16(difference) & seen_here);
      total += weight;
      store_f32(&weights[r][s], weight);
    }
    float before = seen->most[r] - now;
    float kept = before < -80.0f ? 0 : exp16(splat(before))[0];
    seen->most[r] = now;
    seen->total[r] = seen->total[r] * kept + sum16(total);
    for (int d = 0; d < dimensions / 16; d++) seen->sum[r][d] *= splat(kept);
    if (c->kind == CACHE_Q8)
      for (int s = 0; s < whole; s += 16)
        store_f32(&weights[r][s], load_f32(&weights[r][s]) *
                                      load_f32(c->value_scales + base + start + s));
  }
  add(c->kind, count, c->values + (base + start) * dimensions * bytes, dimensions,
      num_slots, weights, seen);
}

static void attention_part(void *argument, int part, int thread) {
  const Attention *a = argument;
  int group = a->num_heads / a->num_cache_heads;
  int head = part % a->num_cache_heads, tile = part / a->num_cache_heads;
  int row = tile * QUERIES, num_rows = a->num_tokens * group;
  int count = num_rows - row < QUERIES ? num_rows - row : QUERIES;
  Seen seen;
  (void)thread;
  begin(&seen, count, a->dimensions / 16);
  for (int chunk = 0; chunk < a->num_chunks; chunk++)
    see_chunk(a, head, row, count, chunk, &seen);
  for (int r = 0; r < count; r++) {
    float *out = a->out + ((int64_t)((row + r) / group) * a->num_heads + head * group +
                           (row + r) % group) *
                              a->dimensions;
    v16f by = splat(1 / seen.total[r]);
    for (int d = 0; d < a->dimensions / 16; d++)
      store_f32(out + 16 * d, seen.sum[r][d] * by);
  }
}

static void attend(Attention *a) {
  int rows = a->num_tokens * (a->num_heads / a->num_cache_heads);
  int num_tiles = (rows + QUERIES - 1) / QUERIES;
  a->num_chunks = (a->first_slot + a->num_tokens + SLOTS - 1) / SLOTS;
  run_parts(attention_part, a, num_tiles * a->num_cache_heads);
}

#endif

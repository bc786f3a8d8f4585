/* Products of packed weights with a few or many vectors.
 *
 * Weights lie in tiles of 16 rows by 32 columns, so that a vector's 16 lanes are 16
 * rows and no sum ever runs across lanes. A block of 16 rows is its tiles' numbers, one
 * tile after the other, then their scales; model/packing.py writes it:
 *
 *   Q4   16 pairs of nibbles, lower four columns in the low ones; value = d * q + m
 *   Q5   the same, then a bit mask per four columns;              value = d * (q - 16)
 *   Q6   the same, then masks of the sixth bit;                   value = d * (q - 32)
 *   Q8   bytes;                                                   value = d * (q - 128)
 *   F32  floats, column by column
 *
 * with d and m in half precision per row and 32 columns. Activations are rounded to
 * signed bytes per 32 columns (one scale each), and the products are summed as integers.
 * How many vectors are multiplied at once changes no bit of any result.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include "pool.h"
#include "simd.h"

enum { AHEAD = 8192, SCALES_AHEAD = 1024 };
enum { ROWS = 16, COLUMNS = 32, STEPS = COLUMNS / 4, MOST_VECTORS = 8, MOST_WIDE = 6, FEWEST_WIDE = 32 };
enum Format { Q4, Q5, Q6, Q8, F32 };

typedef struct {
  const uint8_t *blocks; /* [rows / 16] blocks of block_bytes */
  const float *bias;     /* [rows], or NULL */
  int64_t block_bytes;
  int32_t rows;    /* padded to a multiple of 16 */
  int32_t columns; /* a multiple of 32 */
  int32_t format;
  int32_t unused;
} Matrix;

/* What the sum of the bytes contributes: with a zero point, the integer that products are
 * added to; in Q4 the factor of the minimum. */
typedef union {
  int32_t start;
  float factor;
} Extra;

/* Vectors rounded to bytes, with a scale and an extra for each 32 columns. */
typedef struct {
  int8_t *bytes;        /* [vectors, columns] */
  float *scales;        /* [vectors, columns / 32] */
  Extra *extras;        /* [vectors, columns / 32] */
} Rounded;

INLINE int32_t zero_of(int format) {
  return format == Q4 ? 0 : format == Q5 ? 16 : format == Q6 ? 32 : 128;
}

static void round_vector(const float *x, int columns, int format, int8_t *bytes,
                         float *scales, Extra *extras) {
  for (int g = 0; g < columns / COLUMNS; g++, x += COLUMNS, bytes += COLUMNS) {
    v16f low = load_f32(x), high = load_f32(x + 16);
    float most = largest16(max16(absolute16(low), absolute16(high)));
    v16f inverse = splat(most > 0 ? 127 / most : 0);
    v16i first = to_nearest(low * inverse), second = to_nearest(high * inverse);
    store_bytes(bytes, first);
    store_bytes(bytes + 16, second);
    scales[g] = most / 127;
    int32_t sum = sum_int16(first + second);
    if (format == Q4)
      extras[g].factor = scales[g] * (float)sum;
    else
      extras[g].start = -zero_of(format) * sum;
  }
}

INLINE void unpack_tile(int format, const uint8_t *tile, v64b weights[STEPS]) {
  if (format == Q8) {
    for (int s = 0; s < STEPS; s++) weights[s] = load_bytes(tile + 64 * s);
    return;
  }
  for (int s = 0; s < STEPS; s += 2) {
    v64b pairs = load_bytes(tile + 32 * s);
    weights[s] = pairs & 15;
    /* Wide shifts exist everywhere; what crosses into a byte is masked away. */
    weights[s + 1] = (v64b)((v16u)pairs >> 4) & 15;
  }
  if (format == Q5 || format == Q6)
    for (int s = 0; s < STEPS; s++) weights[s] = with_bit(weights[s], tile + 256 + 8 * s, 16);
  if (format == Q6)
    for (int s = 0; s < STEPS; s++) weights[s] = with_bit(weights[s], tile + 320 + 8 * s, 32);
}

INLINE int tile_bytes(int format) {
  return format == Q4 ? 256 : format == Q5 ? 320 : format == Q6 ? 384 : 512;
}

INLINE int scale_bytes(int format) { return format == Q4 ? 64 : 32; }

/* The processor's own prefetching stops at every page of memory. What is read once a
 * pass need not push anything out of the caches. */
INLINE void fetch_ahead(const uint8_t *p, int bytes) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 0);
}

/* One block of rows with ``count`` vectors. The compiler sees format and count as
 * constants and keeps all sums in registers. */
INLINE void block_product(int format, int count, const uint8_t *block, int columns,
                          const int8_t *bytes, const float *scales,
                          const Extra *extras, v16f *result) {
  int num_groups = columns / COLUMNS;
  const uint8_t *tile = block;
  const uint8_t *scale = block + (int64_t)num_groups * tile_bytes(format);
  v16f total[MOST_VECTORS];
  for (int m = 0; m < count; m++) total[m] = splat(0);
  for (int g = 0; g < num_groups; g++) {
    v64b weights[STEPS];
    fetch_ahead(tile + AHEAD, tile_bytes(format));
    fetch_ahead(scale + SCALES_AHEAD, 1);
    unpack_tile(format, tile, weights);
    v16f d = load_f16(scale);
    v16f low = format == Q4 ? load_f16(scale + 32) : splat(0);
    v16i sum[MOST_VECTORS];
    for (int m = 0; m < count; m++)
      sum[m] = splat_int(format == Q4 ? 0 : extras[m * num_groups + g].start);
    for (int s = 0; s < STEPS; s++)
      for (int m = 0; m < count; m++)
        sum[m] = dot4(sum[m], weights[s],
                      bytes + (int64_t)m * columns + g * COLUMNS + 4 * s);
    for (int m = 0; m < count; m++) {
      float x = scales[m * num_groups + g];
      total[m] = fma16(to_float(sum[m]), d * splat(x), total[m]);
      if (format == Q4)
        total[m] = fma16(low, splat(extras[m * num_groups + g].factor), total[m]);
    }
    tile += tile_bytes(format);
    scale += scale_bytes(format);
  }
  for (int m = 0; m < count; m++) result[m] = total[m];
}

/* Two blocks at once with up to ``MOST_WIDE`` vectors, for many vectors: their numbers
 * are unpacked before, so that each activation is loaded once for two products. */
INLINE void wide_product(int format, int count, const uint8_t *unpacked,
                         const uint8_t *const scale[2], int columns, const int8_t *bytes,
                         const float *scales, const Extra *extras,
                         v16f result[MOST_WIDE][2]) {
  int num_groups = columns / COLUMNS;
  v16f total[MOST_WIDE][2];
  for (int m = 0; m < count; m++) total[m][0] = total[m][1] = splat(0);
  for (int g = 0; g < num_groups; g++) {
    v16i sum[MOST_WIDE][2];
    for (int m = 0; m < count; m++)
      sum[m][0] = sum[m][1] =
          splat_int(format == Q4 ? 0 : extras[m * num_groups + g].start);
    for (int s = 0; s < STEPS; s++) {
      const uint8_t *weights = unpacked + 128 * ((int64_t)g * STEPS + s);
      v64b first = load_bytes(weights), second = load_bytes(weights + 64);
      for (int m = 0; m < count; m++) {
        const int8_t *x = bytes + (int64_t)m * columns + g * COLUMNS + 4 * s;
        sum[m][0] = dot4(sum[m][0], first, x);
        sum[m][1] = dot4(sum[m][1], second, x);
      }
    }
    for (int b = 0; b < 2; b++) {
      const uint8_t *at = scale[b] + (int64_t)g * scale_bytes(format);
      v16f d = load_f16(at), low = format == Q4 ? load_f16(at + 32) : splat(0);
      for (int m = 0; m < count; m++) {
        float x = scales[m * num_groups + g];
        total[m][b] = fma16(to_float(sum[m][b]), d * splat(x), total[m][b]);
        if (format == Q4)
          total[m][b] =
              fma16(low, splat(extras[m * num_groups + g].factor), total[m][b]);
      }
    }
  }
  for (int m = 0; m < count; m++)
    for (int b = 0; b < 2; b++) result[m][b] = total[m][b];
}

/* Two blocks' numbers as bytes: [groups, steps, blocks, 64]. */
INLINE void unpack_pair(int format, const uint8_t *const blocks[2], int columns,
                        uint8_t *out) {
  for (int g = 0; g < columns / COLUMNS; g++)
    for (int b = 0; b < 2; b++) {
      v64b weights[STEPS];
      unpack_tile(format, blocks[b] + (int64_t)g * tile_bytes(format), weights);
      for (int s = 0; s < STEPS; s++)
        memcpy(out + 128 * ((int64_t)g * STEPS + s) + 64 * b, &weights[s], 64);
    }
}

INLINE void float_product(int count, const float *block, int columns, const float *x,
                          v16f *result) {
  v16f total[MOST_VECTORS];
  for (int m = 0; m < count; m++) total[m] = splat(0);
  for (int k = 0; k < columns; k++) {
    v16f weights = load_f32(block + 16 * (int64_t)k);
    for (int m = 0; m < count; m++)
      total[m] = fma16(weights, splat(x[(int64_t)m * columns + k]), total[m]);
  }
  for (int m = 0; m < count; m++) result[m] = total[m];
}

#define DEFINE_PRODUCT(NAME, FORMAT)                                                   \
  static void NAME(const uint8_t *block, int columns, int count, const int8_t *bytes,  \
                   const float *scales, const Extra *extras, v16f *result) {           \
    WITH_COUNT(count, block_product(FORMAT, COUNT, block, columns, bytes, scales,      \
                                    extras, result))                                     \
  }
DEFINE_PRODUCT(product_q4, Q4)
DEFINE_PRODUCT(product_q5, Q5)
DEFINE_PRODUCT(product_q6, Q6)
DEFINE_PRODUCT(product_q8, Q8)

#define DEFINE_WIDE(NAME, FORMAT)                                                      \
  static void NAME(const uint8_t *const blocks[2], int columns, int count,             \
                   const int8_t *bytes, const float *scales, const Extra *extras,      \
                   uint8_t *unpacked, v16f result[MOST_WIDE][2]) {                     \
    int64_t data_bytes = (int64_t)(columns / COLUMNS) * tile_bytes(FORMAT);            \
    const uint8_t *scale[2] = {blocks[0] + data_bytes, blocks[1] + data_bytes};        \
    if (!count)                                                                        \
      unpack_pair(FORMAT, blocks, columns, unpacked);                                  \
    else                                                                               \
      WITH_COUNT(count, wide_product(FORMAT, COUNT > (int)MOST_WIDE ? (int)MOST_WIDE : (int)COUNT,    \
                                     unpacked, scale, columns, bytes, scales, extras,    \
                                     result))                                          \
  }
DEFINE_WIDE(wide_q4, Q4)
DEFINE_WIDE(wide_q5, Q5)
DEFINE_WIDE(wide_q6, Q6)
DEFINE_WIDE(wide_q8, Q8)

static void product_f32(const float *block, int columns, int count, const float *x,
                        v16f *result) {
  WITH_COUNT(count, float_product(COUNT, block, columns, x, result))
}

typedef struct {
  const Matrix *matrix;
  const float *x;       /* [vectors, columns] */
  Rounded rounded;
  uint8_t *unpacked;    /* [threads] rooms of unpacked_bytes */
  int64_t unpacked_bytes;
  float *out;           /* [vectors, out_stride] */
  int64_t out_stride;
  int num_vectors, blocks_per_part, add;
} Product;

static void put_result(const Product *p, int block, int vector, v16f result) {
  float *out = p->out + vector * p->out_stride + ROWS * block;
  if (p->matrix->bias) result = result + load_f32(p->matrix->bias + ROWS * block);
  store_f32(out, p->add ? load_f32(out) + result : result);
}

static void narrow_blocks(const Product *p, int first, int last) {
  const Matrix *a = p->matrix;
  int columns = a->columns, num_groups = columns / COLUMNS;
  for (int b = first; b < last; b++) {
    const uint8_t *block = a->blocks + b * a->block_bytes;
    for (int m = 0; m < p->num_vectors; m += MOST_VECTORS) {
      int count = p->num_vectors - m < MOST_VECTORS ? p->num_vectors - m : MOST_VECTORS;
      v16f result[MOST_VECTORS];
      const int8_t *bytes = p->rounded.bytes + (int64_t)m * columns;
      const float *scales = p->rounded.scales + (int64_t)m * num_groups;
      const Extra *extras = p->rounded.extras + (int64_t)m * num_groups;
      switch (a->format) {
        case Q4: product_q4(block, columns, count, bytes, scales, extras, result); break;
        case Q5: product_q5(block, columns, count, bytes, scales, extras, result); break;
        case Q6: product_q6(block, columns, count, bytes, scales, extras, result); break;
        case Q8: product_q8(block, columns, count, bytes, scales, extras, result); break;
        default:
          product_f32((const float *)block, columns, count,
                      p->x + (int64_t)m * columns, result);
      }
      for (int i = 0; i < count; i++) put_result(p, b, m + i, result[i]);
    }
  }
}

static void wide_blocks(const Product *p, int first, uint8_t *unpacked) {
  const Matrix *a = p->matrix;
  int columns = a->columns, num_groups = columns / COLUMNS;
  const uint8_t *block = a->blocks + first * a->block_bytes;
  const uint8_t *blocks[2] = {block, block + a->block_bytes};
  int rounds = (p->num_vectors + MOST_WIDE - 1) / MOST_WIDE;
  for (int round = -1, m = 0, count = 0; round < rounds; round++, m += count) {
    v16f result[MOST_WIDE][2];
    /* The first round unpacks; the others share the vectors evenly. */
    count = round < 0 ? 0 : (p->num_vectors - m) / (rounds - round);
    const int8_t *bytes = p->rounded.bytes + (int64_t)m * columns;
    const float *scales = p->rounded.scales + (int64_t)m * num_groups;
    const Extra *extras = p->rounded.extras + (int64_t)m * num_groups;
    switch (a->format) {
      case Q4: wide_q4(blocks, columns, count, bytes, scales, extras, unpacked, result); break;
      case Q5: wide_q5(blocks, columns, count, bytes, scales, extras, unpacked, result); break;
      case Q6: wide_q6(blocks, columns, count, bytes, scales, extras, unpacked, result); break;
      default: wide_q8(blocks, columns, count, bytes, scales, extras, unpacked, result);
    }
    for (int i = 0; i < count; i++)
      for (int b = 0; b < 2; b++) put_result(p, first + b, m + i, result[i][b]);
  }
}

static void product_part(void *argument, int part, int thread) {
  const Product *p = argument;
  int num_blocks = p->matrix->rows / ROWS;
  int first = part * p->blocks_per_part, last = first + p->blocks_per_part;
  if (last > num_blocks) last = num_blocks;
  if (p->num_vectors >= FEWEST_WIDE && p->matrix->format != F32)
    for (; first + 2 <= last; first += 2)
      wide_blocks(p, first, p->unpacked + thread * p->unpacked_bytes);
  narrow_blocks(p, first, last);
}

typedef struct {
  const float *x;
  int columns, format;
  Rounded rounded;
} Rounding;

static void rounding_part(void *argument, int part, int thread) {
  const Rounding *r = argument;
  int num_groups = r->columns / COLUMNS;
  (void)thread;
  round_vector(r->x + (int64_t)part * r->columns, r->columns, r->format,
               r->rounded.bytes + (int64_t)part * r->columns,
               r->rounded.scales + (int64_t)part * num_groups,
               r->rounded.extras + (int64_t)part * num_groups);
}

/* Room that products need: rounded vectors, and unpacked blocks for each thread. */
typedef struct {
  Rounded rounded;
  uint8_t *unpacked;
  int64_t unpacked_bytes; /* for one thread */
} Workspace;

/* out[v] = matrix x[v] + bias, or added to what out holds. */
static void multiply(const Matrix *matrix, const float *x, const Workspace *workspace,
                     int num_vectors, float *out, int64_t out_stride, int add) {
  Rounded rounded = workspace->rounded;
  Product product = {matrix, x, rounded, workspace->unpacked, workspace->unpacked_bytes,
                     out, out_stride, num_vectors, 0, add};
  Rounding rounding = {x, matrix->columns, matrix->format, rounded};
  int num_blocks = matrix->rows / ROWS;
  /* Small parts share a busy machine fairly; large ones keep reading in a row. */
  int wanted = pool.num_threads * 8;
  product.blocks_per_part = (num_blocks + wanted - 1) / wanted;
  if (num_vectors >= FEWEST_WIDE) product.blocks_per_part += product.blocks_per_part % 2;
  if (matrix->format != F32) {
    if (num_vectors < 2 * pool.num_threads)
      for (int v = 0; v < num_vectors; v++) rounding_part(&rounding, v, 0);
    else
      run_parts(rounding_part, &rounding, num_vectors);
  }
  run_parts(product_part, &product,
            (num_blocks + product.blocks_per_part - 1) / product.blocks_per_part);
}

#endif

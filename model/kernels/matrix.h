/* Products of packed weights with a few or many vectors.
 *
 * Weights lie in tiles of 16 rows by 32 columns, so that a vector's 16 lanes are 16
 * rows and no sum ever runs across lanes. A block of 16 rows is its tiles' numbers, one
 * tile after the other, then their scales; model/packing.py writes it:
 *
 *   Q4   16 pairs of nibbles, lower four columns in the low ones; value = d * q + m
 *   Q5   the same, then a bit mask per four columns;              value = d * (q - 16)
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

enum { ROWS = 16, COLUMNS = 32, STEPS = COLUMNS / 4, MOST_VECTORS = 8 };
enum Format { Q4, Q5, Q8, F32 };

typedef struct {
  const uint8_t *blocks; /* [rows / 16] blocks of block_bytes */
  const float *bias;     /* [rows], or NULL */
  int64_t block_bytes;
  int32_t rows;    /* padded to a multiple of 16 */
  int32_t columns; /* a multiple of 32 */
  int32_t format;
  int32_t unused;
} Matrix;

/* Vectors rounded to bytes: for each of 32 columns a scale and the sum of the bytes. */
typedef struct {
  int8_t *bytes;        /* [vectors, columns] */
  float *scales;        /* [vectors, columns / 32] */
  int32_t *sums;        /* [vectors, columns / 32] */
} Rounded;

static void round_vector(const float *x, int columns, int8_t *bytes, float *scales,
                         int32_t *sums) {
  for (int g = 0; g < columns / COLUMNS; g++, x += COLUMNS, bytes += COLUMNS) {
    float most = 0;
    int32_t sum = 0;
    for (int i = 0; i < COLUMNS; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    float inverse = most > 0 ? 127 / most : 0;
    for (int i = 0; i < COLUMNS; i++) {
      /* Adding 1.5 * 2^23 rounds to nearest even without leaving the vectors. */
      float shifted = x[i] * inverse + 12582912.0f;
      bytes[i] = (int8_t)(int32_t)(shifted - 12582912.0f);
      sum += bytes[i];
    }
    scales[g] = most / 127;
    sums[g] = sum;
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
  if (format == Q5)
    for (int s = 0; s < STEPS; s++)
      weights[s] = with_fifth_bit(weights[s], tile + 256 + 8 * s);
}

INLINE int tile_bytes(int format) {
  return format == Q4 ? 256 : format == Q5 ? 320 : 512;
}

INLINE int scale_bytes(int format) { return format == Q4 ? 64 : 32; }

/* One block of rows with ``count`` vectors. The compiler sees format and count as
 * constants and keeps all sums in registers. */
INLINE void block_product(int format, int count, const uint8_t *block, int columns,
                          const int8_t *bytes, const float *scales,
                          const int32_t *sums, v16f *result) {
  int num_groups = columns / COLUMNS;
  const uint8_t *tile = block;
  const uint8_t *scale = block + (int64_t)num_groups * tile_bytes(format);
  int32_t offset = format == Q5 ? -16 : format == Q8 ? -128 : 0;
  v16f total[MOST_VECTORS];
  for (int m = 0; m < count; m++) total[m] = splat(0);
  for (int g = 0; g < num_groups; g++) {
    v64b weights[STEPS];
    unpack_tile(format, tile, weights);
    v16f d = load_f16(scale);
    v16f low = format == Q4 ? load_f16(scale + 32) : splat(0);
    v16i sum[MOST_VECTORS];
    for (int m = 0; m < count; m++)
      sum[m] = (v16i){0} + offset * sums[m * num_groups + g];
    for (int s = 0; s < STEPS; s++)
      for (int m = 0; m < count; m++)
        sum[m] = dot4(sum[m], weights[s],
                      bytes + (int64_t)m * columns + g * COLUMNS + 4 * s);
    for (int m = 0; m < count; m++) {
      float x = scales[m * num_groups + g];
      total[m] = fma16(to_float(sum[m]), d * x, total[m]);
      if (format == Q4)
        total[m] = fma16(low, splat(x * (float)sums[m * num_groups + g]), total[m]);
    }
    tile += tile_bytes(format);
    scale += scale_bytes(format);
  }
  for (int m = 0; m < count; m++) result[m] = total[m];
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

#define WITH_COUNT(n, call)                                                            \
  switch (n) {                                                                         \
    case 1: { enum { COUNT = 1 }; call; break; }                                       \
    case 2: { enum { COUNT = 2 }; call; break; }                                       \
    case 3: { enum { COUNT = 3 }; call; break; }                                       \
    case 4: { enum { COUNT = 4 }; call; break; }                                       \
    case 5: { enum { COUNT = 5 }; call; break; }                                       \
    case 6: { enum { COUNT = 6 }; call; break; }                                       \
    case 7: { enum { COUNT = 7 }; call; break; }                                       \
    default: { enum { COUNT = 8 }; call; break; }                                      \
  }

#define DEFINE_PRODUCT(NAME, FORMAT)                                                   \
  static void NAME(const uint8_t *block, int columns, int count, const int8_t *bytes,  \
                   const float *scales, const int32_t *sums, v16f *result) {           \
    WITH_COUNT(count, block_product(FORMAT, COUNT, block, columns, bytes, scales,      \
                                    sums, result))                                     \
  }
DEFINE_PRODUCT(product_q4, Q4)
DEFINE_PRODUCT(product_q5, Q5)
DEFINE_PRODUCT(product_q8, Q8)

static void product_f32(const float *block, int columns, int count, const float *x,
                        v16f *result) {
  WITH_COUNT(count, float_product(COUNT, block, columns, x, result))
}

typedef struct {
  const Matrix *matrix;
  const float *x;       /* [vectors, columns] */
  Rounded rounded;
  float *out;           /* [vectors, out_stride] */
  int64_t out_stride;
  int num_vectors, blocks_per_part, add;
} Product;

static void product_part(void *argument, int part, int thread) {
  const Product *p = argument;
  const Matrix *a = p->matrix;
  int columns = a->columns, num_groups = columns / COLUMNS;
  int first = part * p->blocks_per_part, last = first + p->blocks_per_part;
  (void)thread;
  if (last > a->rows / ROWS) last = a->rows / ROWS;
  for (int b = first; b < last; b++) {
    const uint8_t *block = a->blocks + b * a->block_bytes;
    v16f bias = a->bias ? load_f32(a->bias + ROWS * b) : splat(0);
    for (int m = 0; m < p->num_vectors; m += MOST_VECTORS) {
      int count = p->num_vectors - m < MOST_VECTORS ? p->num_vectors - m : MOST_VECTORS;
      v16f result[MOST_VECTORS];
      const int8_t *bytes = p->rounded.bytes + (int64_t)m * columns;
      const float *scales = p->rounded.scales + (int64_t)m * num_groups;
      const int32_t *sums = p->rounded.sums + (int64_t)m * num_groups;
      switch (a->format) {
        case Q4: product_q4(block, columns, count, bytes, scales, sums, result); break;
        case Q5: product_q5(block, columns, count, bytes, scales, sums, result); break;
        case Q8: product_q8(block, columns, count, bytes, scales, sums, result); break;
        default:
          product_f32((const float *)block, columns, count,
                      p->x + (int64_t)m * columns, result);
      }
      for (int i = 0; i < count; i++) {
        float *out = p->out + (m + i) * p->out_stride + ROWS * b;
        v16f sum = result[i] + bias;
        store_f32(out, p->add ? load_f32(out) + sum : sum);
      }
    }
  }
}

typedef struct {
  const float *x;
  int columns;
  Rounded rounded;
} Rounding;

static void rounding_part(void *argument, int part, int thread) {
  const Rounding *r = argument;
  int num_groups = r->columns / COLUMNS;
  (void)thread;
  round_vector(r->x + (int64_t)part * r->columns, r->columns,
               r->rounded.bytes + (int64_t)part * r->columns,
               r->rounded.scales + (int64_t)part * num_groups,
               r->rounded.sums + (int64_t)part * num_groups);
}

/* out[v] = matrix x[v] + bias, or added to what out holds. ``rounded`` is room. */
static void multiply(const Matrix *matrix, const float *x, Rounded rounded,
                     int num_vectors, float *out, int64_t out_stride, int add) {
  Product product = {matrix, x, rounded, out, out_stride, num_vectors, 0, add};
  Rounding rounding = {x, matrix->columns, rounded};
  int num_blocks = matrix->rows / ROWS;
  /* Small parts share a busy machine fairly; large ones keep reading in a row. */
  int wanted = pool.num_threads * 8;
  product.blocks_per_part = (num_blocks + wanted - 1) / wanted;
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

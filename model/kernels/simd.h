/* Vectors of sixteen lanes, whatever the processor calls them.
 *
 * GCC's and Clang's vector extensions give one source for every processor; only what
 * they cannot express has variants: the sum of four byte products (VNNI, dot product)
 * and half precision. All arithmetic is written out, products and sums apart or fused
 * by name, so that a row's result never depends on how many rows are computed with it.
 */
#ifndef SIMD_H
#define SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Do ``call`` with COUNT as a constant of 1 to 8, so that what it counts can stay in
 * registers. */
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

typedef float v16f __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef uint32_t v16u __attribute__((vector_size(64)));
typedef uint8_t v64b __attribute__((vector_size(64)));
typedef int8_t v16s8 __attribute__((vector_size(16)));
typedef uint16_t v16h __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))

INLINE v16f splat(float x) {
  return (v16f){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
INLINE v16i splat_int(int32_t x) {
  return (v16i){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

INLINE v16f load_f32(const void *p) { v16f v; memcpy(&v, p, sizeof v); return v; }
INLINE void store_f32(void *p, v16f v) { memcpy(p, &v, sizeof v); }
INLINE v64b load_bytes(const void *p) { v64b v; memcpy(&v, p, sizeof v); return v; }

/* a * b + c, rounded once where the processor can. */
INLINE v16f fma16(v16f a, v16f b, v16f c) {
#if defined(__AVX512F__)
  return (v16f)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  union { v16f v; __m256 h[2]; } x = {a}, y = {b}, z = {c};
  z.h[0] = _mm256_fmadd_ps(x.h[0], y.h[0], z.h[0]);
  z.h[1] = _mm256_fmadd_ps(x.h[1], y.h[1], z.h[1]);
  return z.v;
#elif defined(__aarch64__)
  union { v16f v; float32x4_t q[4]; } x = {a}, y = {b}, z = {c};
  for (int i = 0; i < 4; i++) z.q[i] = vfmaq_f32(z.q[i], x.q[i], y.q[i]);
  return z.v;
#else
  return a * b + c;
#endif
}

INLINE v16f max16(v16f a, v16f b) {
#if defined(__AVX512F__)
  return (v16f)_mm512_max_ps((__m512)a, (__m512)b);
#else
  v16i greater = a > b;
  return (v16f)(((v16i)a & greater) | ((v16i)b & ~greater));
#endif
}

INLINE float sum16(v16f v) {
  float lanes[16];
  memcpy(lanes, &v, sizeof lanes);
  for (int width = 8; width; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}

INLINE int32_t sum_int16(v16i v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_epi32((__m512i)v);
#else
  int32_t lanes[16], sum = 0;
  memcpy(lanes, &v, sizeof lanes);
  for (int i = 0; i < 16; i++) sum += lanes[i];
  return sum;
#endif
}

INLINE float largest16(v16f v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#else
  float lanes[16], best;
  memcpy(lanes, &v, sizeof lanes);
  best = lanes[0];
  for (int i = 1; i < 16; i++) best = lanes[i] > best ? lanes[i] : best;
  return best;
#endif
}

INLINE v16f to_float(v16i v) { return __builtin_convertvector(v, v16f); }

/* To the nearest integer, even ones at a tie; |x| below 2^22. */
INLINE v16i to_nearest(v16f x) {
  return (v16i)(x + splat(12582912.0f)) - splat_int(0x4b400000);
}

/* Sixteen integers that fit into signed bytes. */
INLINE void store_bytes(int8_t *p, v16i v) {
#if defined(__AVX512F__)
  _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
#else
  v16s8 narrow = __builtin_convertvector(v, v16s8);
  memcpy(p, &narrow, sizeof narrow);
#endif
}

INLINE v16f absolute16(v16f x) { return (v16f)((v16i)x & splat_int(0x7fffffff)); }

/* Sixteen numbers in bfloat16: the upper halves of floats. */
INLINE v16f load_bf16(const void *p) {
#if defined(__AVX512F__)
  __m256i half = _mm256_loadu_si256((const __m256i *)p);
  return (v16f)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
#else
  v16h h;
  memcpy(&h, p, sizeof h);
  return (v16f)(__builtin_convertvector(h, v16u) << 16);
#endif
}

/* One float to bfloat16, to nearest even. */
INLINE uint16_t to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INLINE v16f load_s8(const void *p) {
#if defined(__AVX512F__)
  return (v16f)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#else
  v16s8 v;
  memcpy(&v, p, sizeof v);
  return to_float(__builtin_convertvector(v, v16i));
#endif
}

/* Sixteen numbers in half precision. */
INLINE v16f load_f16(const void *p) {
#if defined(__AVX512F__)
  return (v16f)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__F16C__)
  union { v16f v; __m256 h[2]; } x;
  x.h[0] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
  x.h[1] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1));
  return x.v;
#else
  /* Shift exponent and fraction into place and let one product fix the exponent's
   * bias, denormal numbers included. */
  v16h h;
  memcpy(&h, p, sizeof h);
  v16u bits = __builtin_convertvector(h, v16u);
  v16u sign = (bits & 0x8000) << 16;
  v16f magnitude = (v16f)((bits & 0x7fff) << 13) * 0x1p112f;
  return (v16f)((v16u)magnitude | sign);
#endif
}

/* In each lane: the sum of four products, unsigned weights with signed activations.
 * ``x`` points to the four activations, the same for all lanes. */
INLINE v16i dot4(v16i sum, v64b weights, const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
#if defined(__AVX512VNNI__)
  return (v16i)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights,
                                   _mm512_set1_epi32(four));
#elif defined(__AVXVNNI__)
  union { v64b v; __m256i h[2]; } w = {weights};
  union { v16i v; __m256i h[2]; } s = {sum};
  s.h[0] = _mm256_dpbusd_avx_epi32(s.h[0], w.h[0], _mm256_set1_epi32(four));
  s.h[1] = _mm256_dpbusd_avx_epi32(s.h[1], w.h[1], _mm256_set1_epi32(four));
  return s.v;
#elif defined(__AVX2__)
  /* Even and odd bytes apart: 16-bit products of a pair would saturate. */
  union { v64b v; __m256i h[2]; } w = {weights};
  union { v16i v; __m256i h[2]; } s = {sum};
  __m256i b = _mm256_set1_epi32(four);
  __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
  __m256i odd = _mm256_srai_epi16(b, 8);
  for (int i = 0; i < 2; i++) {
    __m256i low = _mm256_and_si256(w.h[i], _mm256_set1_epi16(0xff));
    __m256i high = _mm256_srli_epi16(w.h[i], 8);
    s.h[i] = _mm256_add_epi32(s.h[i], _mm256_add_epi32(_mm256_madd_epi16(low, even),
                                                       _mm256_madd_epi16(high, odd)));
  }
  return s.v;
#elif defined(__ARM_FEATURE_MATMUL_INT8)
  union { v64b v; uint8x16_t q[4]; } w = {weights};
  union { v16i v; int32x4_t q[4]; } s = {sum};
  int8x16_t b = vreinterpretq_s8_s32(vdupq_n_s32(four));
  for (int i = 0; i < 4; i++) s.q[i] = vusdotq_s32(s.q[i], w.q[i], b);
  return s.v;
#elif defined(__ARM_FEATURE_DOTPROD)
  /* Signed times signed: take 128 from the weights and give it back as a sum. */
  union { v64b v; uint8x16_t q[4]; } w = {weights};
  union { v16i v; int32x4_t q[4]; } s = {sum};
  int8x16_t b = vreinterpretq_s8_s32(vdupq_n_s32(four));
  int32x4_t given = vdupq_n_s32(128 * (x[0] + x[1] + x[2] + x[3]));
  for (int i = 0; i < 4; i++) {
    int8x16_t a = vreinterpretq_s8_u8(veorq_u8(w.q[i], vdupq_n_u8(0x80)));
    s.q[i] = vdotq_s32(vaddq_s32(s.q[i], given), a, b);
  }
  return s.v;
#else
  for (int lane = 0; lane < 16; lane++)
    for (int j = 0; j < 4; j++) sum[lane] += (int32_t)weights[4 * lane + j] * x[j];
  return sum;
#endif
}

/* Add ``value`` to each byte whose bit in ``mask`` is set. */
INLINE v64b with_bit(v64b v, const uint8_t *mask, uint8_t value) {
#if defined(__AVX512BW__)
  uint64_t bits;
  memcpy(&bits, mask, sizeof bits);
  return (v64b)_mm512_mask_add_epi8((__m512i)v, (__mmask64)bits, (__m512i)v,
                                    _mm512_set1_epi8((char)value));
#else
  for (int i = 0; i < 64; i++)
    v[i] += (uint8_t)((mask[i / 8] >> (i % 8) & 1) * value);
  return v;
#endif
}

/* e to the power of x, within two units in the last place; at least e^-87.
 * Cody and Waite's reduction and a polynomial of degree six. */
INLINE v16f exp16(v16f x) {
  x = max16(x, splat(-87.3f));
  x = -max16(-x, splat(-88.3f));
  v16f turns = fma16(x, splat(1.44269504f), splat(12582912.0f));
  v16i exponent = (v16i)turns << 23;
  turns -= splat(12582912.0f);
  x = fma16(turns, splat(-0.693359375f), x);
  x = fma16(turns, splat(2.12194440e-4f), x);
  v16f y = splat(1.9875691500e-4f);
  y = fma16(y, x, splat(1.3981999507e-3f));
  y = fma16(y, x, splat(8.3334519073e-3f));
  y = fma16(y, x, splat(4.1665795894e-2f));
  y = fma16(y, x, splat(1.6666665459e-1f));
  y = fma16(y, x, splat(5.0000001201e-1f));
  y = fma16(y, x * x, x) + splat(1.0f);
  return (v16f)((v16i)y + exponent);
}

#endif

/* A whole pass of a decoder-only transformer over packed weights, in one call.
 *
 * The same mathematics as model/decoder.py, which is its reference: the residual stream
 * and everything between the products are floats. One caller at a time; the caller's
 * thread works too, and Python's lock is free meanwhile.
 */
#include <stddef.h>

#include "attention.h"
#include "matrix.h"
#include "pool.h"
#include "simd.h"

enum Norm { LAYER_NORM, RMS_NORM };
enum Activation { SILU, GELU, GELU_TANH };

typedef struct {
  const float *weight, *bias; /* [width]; no bias: NULL */
} Norm;

typedef struct {
  Norm attention_norm, mlp_norm;
  const float *query_norm, *key_norm; /* [dimensions], or NULL */
  Matrix qkv, out, up, down;
  int32_t window, unused; /* 0: all slots are seen */
} Layer;

typedef struct {
  const Layer *layers;
  const float *rotary;       /* [positions, rotary / 2, 2]: cosine, sine */
  Norm final_norm;
  Matrix head;
  int32_t num_layers, hidden, intermediate, num_heads, num_cache_heads, dimensions;
  int32_t rotary_dimensions, norm, parallel_residual, activation, gated, vocabulary;
  float epsilon;
  int32_t most_tokens;       /* of one pass */
} Model;

/* Room for one pass, made once. */
typedef struct {
  float *x, *normed, *qkv, *attended, *up, *activated;
  Workspace workspace;
} Room;

#if defined(_WIN32)
#include <malloc.h>
#define free_bytes _aligned_free
static void *room_bytes(size_t bytes) { return _aligned_malloc(bytes + 64, 64); }
#else
#define free_bytes free
static void *room_bytes(size_t bytes) {
  void *p = NULL;
  return posix_memalign(&p, 64, (bytes + 63) / 64 * 64) ? NULL : p;
}
#endif

static int padded(int n) { return (n + 15) / 16 * 16; }

static int qkv_width(const Model *m) {
  return (m->num_heads + 2 * m->num_cache_heads) * m->dimensions;
}

void decoder_free_room(Room *room) {
  if (!room) return;
  free_bytes(room->x); free_bytes(room->normed); free_bytes(room->qkv); free_bytes(room->attended);
  free_bytes(room->up); free_bytes(room->activated); free_bytes(room->workspace.rounded.bytes);
  free_bytes(room->workspace.rounded.scales); free_bytes(room->workspace.rounded.extras);
  free_bytes(room->workspace.unpacked);
  free(room);
}

Room *decoder_make_room(const Model *m) {
  Room *room = calloc(1, sizeof *room);
  size_t tokens = (size_t)m->most_tokens, attended = (size_t)m->num_heads * m->dimensions;
  size_t inner = (size_t)m->intermediate, widest = attended > inner ? attended : inner;
  if (!room) return NULL;
  if (widest < (size_t)m->hidden) widest = (size_t)m->hidden;
  room->x = room_bytes(tokens * m->hidden * 4);
  room->normed = room_bytes(tokens * m->hidden * 4);
  room->qkv = room_bytes(tokens * padded(qkv_width(m)) * 4);
  room->attended = room_bytes(tokens * attended * 4);
  room->up = room_bytes(tokens * padded(m->intermediate * (m->gated ? 2 : 1)) * 4);
  room->activated = room_bytes(tokens * inner * 4);
  Workspace *w = &room->workspace;
  w->rounded.bytes = room_bytes(tokens * widest);
  w->rounded.scales = room_bytes(tokens * (widest / COLUMNS + 1) * 4);
  w->rounded.extras = room_bytes(tokens * (widest / COLUMNS + 1) * 4);
  w->unpacked_bytes = (int64_t)(2 * ROWS * widest);
  /* For as many threads as there may ever be: what is not touched costs nothing. */
  w->unpacked = room_bytes((size_t)w->unpacked_bytes * MOST_THREADS);
  if (room->x && room->normed && room->qkv && room->attended && room->up &&
      room->activated && w->rounded.bytes && w->rounded.scales && w->rounded.extras &&
      w->unpacked)
    return room;
  decoder_free_room(room);
  return NULL;
}

static void normalise(const float *x, const Norm *norm, int kind, int width, float epsilon,
                      float *out) {
  v16f sum = splat(0), squares = splat(0);
  float mean = 0;
  if (kind == LAYER_NORM) {
    for (int i = 0; i < width; i += 16) sum += load_f32(x + i);
    mean = sum16(sum) / (float)width;
  }
  for (int i = 0; i < width; i += 16) {
    v16f centred = load_f32(x + i) - splat(mean);
    squares = fma16(centred, centred, squares);
  }
  v16f by = splat(1 / sqrtf(sum16(squares) / (float)width + epsilon));
  for (int i = 0; i < width; i += 16) {
    v16f y = (load_f32(x + i) - splat(mean)) * by * load_f32(norm->weight + i);
    store_f32(out + i, norm->bias ? y + load_f32(norm->bias + i) : y);
  }
}

static void rotate(float *head, const float *rotary, int rotary_dimensions) {
  int half = rotary_dimensions / 2;
  for (int i = 0; i < half; i++) {
    float cosine = rotary[2 * i], sine = rotary[2 * i + 1];
    float a = head[i], b = head[i + half];
    head[i] = a * cosine - b * sine;
    head[i + half] = b * cosine + a * sine;
  }
}

static v16f activate(int kind, v16f x) {
  if (kind == SILU) return x / (splat(1) + exp16(-x));
  if (kind == GELU_TANH) {
    v16f inner = splat(0.7978845608f) * fma16(splat(0.044715f) * x * x, x, x);
    /* tanh(y) = 1 - 2 / (1 + exp(2 y)) */
    return x * (splat(1) - splat(1) / (splat(1) + exp16(inner + inner)));
  }
  float lanes[16];
  memcpy(lanes, &x, sizeof lanes);
  for (int i = 0; i < 16; i++)
    lanes[i] = 0.5f * lanes[i] * (1 + erff(lanes[i] * 0.70710678f));
  return load_f32(lanes);
}

typedef struct {
  const Model *model;
  const Layer *layer;
  const Cache *cache;
  Room *room;
  int layer_number, first_slot, num_branches, num_shared;
} Pass;

/* Norms, rotary positions and the cache for one token. */
static void place_part(void *argument, int token, int thread) {
  const Pass *p = argument;
  const Model *m = p->model;
  int d = m->dimensions;
  int slot = p->first_slot + token;
  int position = position_of(p->first_slot, token, p->num_branches, p->num_shared);
  float *q = p->room->qkv + (int64_t)token * padded(qkv_width(m));
  float *k = q + m->num_heads * d, *v = k + m->num_cache_heads * d;
  const float *rotary = m->rotary + (int64_t)position * m->rotary_dimensions;
  Norm query_norm = {p->layer->query_norm, NULL}, key_norm = {p->layer->key_norm, NULL};
  (void)thread;
  for (int h = 0; h < m->num_heads; h++) {
    if (query_norm.weight)
      normalise(q + h * d, &query_norm, RMS_NORM, d, m->epsilon, q + h * d);
    rotate(q + h * d, rotary, m->rotary_dimensions);
  }
  for (int h = 0; h < m->num_cache_heads; h++) {
    if (key_norm.weight)
      normalise(k + h * d, &key_norm, RMS_NORM, d, m->epsilon, k + h * d);
    rotate(k + h * d, rotary, m->rotary_dimensions);
    store_slot(p->cache, (int64_t)p->layer_number * m->num_cache_heads + h, slot, d,
               k + h * d, v + h * d);
  }
}

static void activation_part(void *argument, int token, int thread) {
  const Pass *p = argument;
  const Model *m = p->model;
  int width = m->intermediate;
  const float *up = p->room->up + (int64_t)token * padded(width * (m->gated ? 2 : 1));
  float *out = p->room->activated + (int64_t)token * width;
  (void)thread;
  for (int i = 0; i < width; i += 16) {
    v16f y = activate(m->activation, load_f32(up + i));
    store_f32(out + i, m->gated ? y * load_f32(up + width + i) : y);
  }
}

static void each_token(Part part, void *task, int num_tokens) {
  if (num_tokens < 2 * pool.num_threads)
    for (int t = 0; t < num_tokens; t++) part(task, t, 0);
  else
    run_parts(part, task, num_tokens);
}

typedef struct {
  const Model *model;
  const Norm *norm;
  const float *x;
  float *out;
} Normalising;

static void norm_part(void *argument, int token, int thread) {
  const Normalising *n = argument;
  int64_t at = (int64_t)token * n->model->hidden;
  (void)thread;
  normalise(n->x + at, n->norm, n->model->norm, n->model->hidden, n->model->epsilon,
            n->out + at);
}

static void normalise_all(const Model *m, const Norm *norm, const float *x,
                          int num_tokens, float *out) {
  Normalising normalising = {m, norm, x, out};
  each_token(norm_part, &normalising, num_tokens);
}

/* Append ``num_tokens`` tokens, their embeddings [num_tokens, hidden], at
 * ``first_slot``; give logits for the last ``num_logits``: [num_logits, padded
 * vocabulary].
 *
 * With ``num_branches`` above 1 there are as many tokens, and token b continues the
 * first ``num_shared`` slots and then slots num_shared + b, + b + num_branches, …
 */
void decoder_pass(const Model *m, const Cache *cache, Room *room, const float *embedded,
                  int num_tokens, int first_slot, int num_branches, int num_shared,
                  int num_logits, float *logits) {
  Pass pass = {m, NULL, cache, room, 0, first_slot, num_branches, num_shared};
  int64_t qkv_stride = padded(qkv_width(m));
  int64_t up_stride = padded(m->intermediate * (m->gated ? 2 : 1));
  memcpy(room->x, embedded, (size_t)num_tokens * m->hidden * sizeof(float));
  for (int n = 0; n < m->num_layers; n++) {
    const Layer *layer = &m->layers[n];
    pass.layer = layer;
    pass.layer_number = n;
    normalise_all(m, &layer->attention_norm, room->x, num_tokens, room->normed);
    multiply(&layer->qkv, room->normed, &room->workspace, num_tokens, room->qkv, qkv_stride, 0);
    each_token(place_part, &pass, num_tokens);
    Attention attention = {cache, room->qkv, room->attended, qkv_stride, n,
                           m->num_heads, m->num_cache_heads, m->dimensions,
                           num_tokens, first_slot, layer->window,
                           num_branches, num_shared, 0};
    attend(&attention);
    /* In parallel, attention and feed-forward both read the layer's input. */
    if (m->parallel_residual)
      normalise_all(m, &layer->mlp_norm, room->x, num_tokens, room->normed);
    multiply(&layer->out, room->attended, &room->workspace, num_tokens, room->x, m->hidden, 1);
    if (!m->parallel_residual)
      normalise_all(m, &layer->mlp_norm, room->x, num_tokens, room->normed);
    multiply(&layer->up, room->normed, &room->workspace, num_tokens, room->up, up_stride, 0);
    each_token(activation_part, &pass, num_tokens);
    multiply(&layer->down, room->activated, &room->workspace, num_tokens, room->x, m->hidden, 1);
  }
  int first = num_tokens - num_logits;
  if (num_logits > 0) {
    float *x = room->x + (int64_t)first * m->hidden;
    normalise_all(m, &m->final_norm, x, num_logits, room->normed);
    multiply(&m->head, room->normed, &room->workspace, num_logits, logits, m->head.rows, 0);
  }
}

/* The most probable token of each row and its log-probability; the lowest id wins. */
void decoder_greedy(const float *logits, int num_rows, int64_t stride, int vocabulary,
                    int32_t *ids, float *logprobs) {
  for (int r = 0; r < num_rows; r++) {
    const float *row = logits + r * stride;
    int whole = vocabulary / 16 * 16, best = 0;
    v16f most = splat(-INFINITY), total = splat(0);
    for (int i = 0; i < whole; i += 16) most = max16(most, load_f32(row + i));
    float highest = largest16(most), rest_total = 0;
    for (int i = whole; i < vocabulary; i++) highest = row[i] > highest ? row[i] : highest;
    while (best < vocabulary - 1 && row[best] != highest) best++;
    for (int i = 0; i < whole; i += 16) total += exp16(load_f32(row + i) - splat(highest));
    for (int i = whole; i < vocabulary; i++) rest_total += expf(row[i] - highest);
    ids[r] = best;
    logprobs[r] = -logf(sum16(total) + rest_total);
  }
}

/* Bytes per second at which all threads together read a buffer. */
typedef struct {
  const uint8_t *bytes;
  int64_t bytes_per_part;
  _Atomic uint32_t sink;
} Reading;

static void reading_part(void *argument, int part, int thread) {
  Reading *r = argument;
  const uint8_t *p = r->bytes + part * r->bytes_per_part;
  v16u sums[4] = {{0}, {0}, {0}, {0}};
  (void)thread;
  for (int64_t i = 0; i + 256 <= r->bytes_per_part; i += 256)
    for (int j = 0; j < 4; j++) sums[j] ^= (v16u)load_bytes(p + i + 64 * j);
  sums[0] ^= sums[1] ^ sums[2] ^ sums[3];
  atomic_fetch_add(&r->sink, sums[0][0] ^ sums[0][7]);
}

uint32_t decoder_read_all(const uint8_t *bytes, int64_t num_bytes) {
  int num_parts = pool.num_threads * 16;
  Reading reading = {bytes, num_bytes / num_parts / 256 * 256, 0};
  run_parts(reading_part, &reading, num_parts);
  return atomic_load(&reading.sink);
}

/* One product alone, for tests and measurements. */
void decoder_multiply(const Matrix *matrix, const float *x, Room *room, int num_vectors,
                      float *out) {
  multiply(matrix, x, &room->workspace, num_vectors, out, matrix->rows, 0);
}

int decoder_threads(int num_threads) {
  return start_threads(num_threads < MOST_THREADS ? num_threads : MOST_THREADS);
}

int decoder_layout(void) {
  /* Python checks that it sees the structures as we do. */
  return (int)(sizeof(Model) + offsetof(Model, epsilon) + 1000 * sizeof(Layer) +
               1000000 * sizeof(Matrix) + 10000000 * sizeof(Cache));
}

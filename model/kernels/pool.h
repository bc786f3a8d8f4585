/* A few threads that stay: parts of a loop are handed out until none is left.
 *
 * Nobody waits for a thread that has not come: whoever is there takes the next part, so
 * a core that is busy with something else costs its share and no more. Waiting threads
 * spin for some tens of microseconds, which covers the pauses within a pass, and then
 * sleep, so that an idle server costs nothing.
 */
#ifndef POOL_H
#define POOL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define SPIN_ROUNDS 4000
enum { MOST_THREADS = 256 };

typedef void (*Part)(void *task, int part, int thread);

/* One number says all that a taker must know at once: which loop (above bit 40), how
 * many parts it has (20 bits), which is the next (20 bits). */
#define TICKET(loop, parts) ((uint64_t)(loop) << 40 | (uint64_t)(parts) << 20)
#define NEXT_PART(ticket) ((int)((ticket) & 0xfffff))
#define NUM_PARTS(ticket) ((int)((ticket) >> 20 & 0xfffff))

static struct {
  int num_threads;
  pthread_t *threads;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  _Atomic uint64_t ticket;
  atomic_int num_done;
  atomic_int num_sleeping;
  atomic_int stop;
  uint32_t loop;
  Part part;
  void *task;
} pool;

static inline void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* Take and do one part; return whether there was one. */
static int work(int thread) {
  uint64_t ticket = atomic_load(&pool.ticket);
  int part = NEXT_PART(ticket);
  if (part >= NUM_PARTS(ticket)) return 0;
  /* Success means the loop is still that one, and cannot end before this part. */
  if (atomic_compare_exchange_strong(&pool.ticket, &ticket, ticket + 1)) {
    pool.part(pool.task, part, thread);
    atomic_fetch_add(&pool.num_done, 1);
  }
  return 1;
}

static int has_parts(void) {
  uint64_t ticket = atomic_load(&pool.ticket);
  return NEXT_PART(ticket) < NUM_PARTS(ticket) || atomic_load(&pool.stop);
}

static void *help(void *argument) {
  int thread = (int)(intptr_t)argument;
  for (int spins = 0; !atomic_load(&pool.stop);) {
    if (work(thread)) { spins = 0; continue; }
    if (++spins < SPIN_ROUNDS) { rest(); continue; }
    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.num_sleeping, 1);
    while (!has_parts()) pthread_cond_wait(&pool.wake, &pool.mutex);
    atomic_fetch_sub(&pool.num_sleeping, 1);
    pthread_mutex_unlock(&pool.mutex);
    spins = 0;
  }
  return NULL;
}

static void wake_all(void) {
  pthread_mutex_lock(&pool.mutex);
  pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.mutex);
}

/* Run ``part`` for 0 … num_parts - 1 on all threads; return when all are done. */
static void run_parts(Part part, void *task, int num_parts) {
  if (pool.num_threads <= 1 || num_parts <= 1) {
    for (int i = 0; i < num_parts; i++) part(task, i, 0);
    return;
  }
  pool.part = part;
  pool.task = task;
  atomic_store(&pool.num_done, 0);
  atomic_store(&pool.ticket, TICKET(++pool.loop & 0xffffff, num_parts));
  if (atomic_load(&pool.num_sleeping)) wake_all();
  while (work(0)) {}
  for (int spins = 0; atomic_load(&pool.num_done) < num_parts; spins++)
    if (spins < SPIN_ROUNDS) rest(); else sched_yield();
}

static void stop_threads(void) {
  if (pool.num_threads > 1) {
    atomic_store(&pool.stop, 1);
    wake_all();
    for (int i = 1; i < pool.num_threads; i++) pthread_join(pool.threads[i], NULL);
  }
  free(pool.threads);
  pool.threads = NULL;
  pool.num_threads = 0;
}

/* Have ``num_threads`` in all, the caller's included; return how many there are. */
static int start_threads(int num_threads) {
  static int prepared;
  if (!prepared) {
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.wake, NULL);
    prepared = 1;
  }
  if (num_threads == pool.num_threads) return num_threads;
  stop_threads();
  atomic_store(&pool.stop, 0);
  atomic_store(&pool.ticket, 0);
  pool.threads = calloc((size_t)num_threads, sizeof *pool.threads);
  pool.num_threads = 1;
  for (int i = 1; i < num_threads && pool.threads; i++) {
    if (pthread_create(&pool.threads[i], NULL, help, (void *)(intptr_t)i)) break;
    pool.num_threads++;
  }
  return pool.num_threads;
}

#endif

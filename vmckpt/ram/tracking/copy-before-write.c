/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copy-before-write.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WORD_PAGES 64
/* Pages that are copied together: a frame of the store, aligned. A fault copies its neighbours too,
 * which costs little more than the fault itself and saves theirs the wait. */
#define FRAME_PAGES 16
#define FRAME_MASK 0xffffu
/* One of so many buffers is kept for faults. */
#define RESERVED_PART 4

typedef struct {
  guint64 frame;   /* which: of pages frame * FRAME_PAGES … */
  guint16 present; /* which of its pages are in @data */
  guint8 data[FRAME_PAGES * PAGE_SIZE_BYTES];
} Buffer;

struct _CopyBeforeWrite {
  WriteFaults *faults;
  int memory;
  guint64 frames; /* in the range */
  gsize reserved; /* free buffers that the background leaves alone */
  GThread *background;

  GMutex lock;
  GCond changed;          /* a buffer was freed or filled, all is copied, or it was given up */
  guint16 *wanted;        /* for each frame: pages still to be copied */
  guint64 left;           /* how many these are */
  GQueue free;            /* of Buffer */
  GQueue filled;          /* of Buffer */
  _Atomic guint faulting; /* guards that are called or wait to have the lock */
  gboolean given_up;      /* nobody waits for anything any more */
  GError *failure;        /* (nullable): why, if reading failed */
  CopyBeforeWriteStats stats;
};

/* ---- Copying; all with the lock held ---- */

static void
give_up (CopyBeforeWrite *copy)
{
  copy->given_up = TRUE;
  g_cond_broadcast (&copy->changed);
}

/* Reads the pages in @wanted of @buffer's frame, each run of them at once. */
static gboolean
read_frame (CopyBeforeWrite *copy, Buffer *buffer, guint wanted, GError **error)
{
  for (guint rest = wanted; rest != 0;) {
    guint first = __builtin_ctz (rest);
    guint count = __builtin_ctz (~(rest >> first));
    guint8 *to = buffer->data + first * PAGE_SIZE_BYTES;
    gsize len = count * PAGE_SIZE_BYTES;
    off_t at = (off_t)(buffer->frame * FRAME_PAGES + first) * PAGE_SIZE_BYTES;

    while (len > 0) {
      ssize_t n = pread (copy->memory, to, len, at);
      if (n < 0 && errno == EINTR)
        continue;
      if (n == 0)
        errno = EIO; /* shorter than the guest's RAM */
      if (n <= 0)
        return fd_set_errno_error (error, "reading the guest's memory at %#" G_GINT64_MODIFIER "x",
                                   (gint64)at);
      to += n;
      at += n;
      len -= n;
    }
    rest &= ~(((1u << count) - 1) << first);
  }
  buffer->present = wanted;
  return TRUE;
}

/* Copies what is still to be copied of @frame into @buffer (transfer full). */
static void
copy_frame (CopyBeforeWrite *copy, Buffer *buffer, guint64 frame)
{
  guint wanted = copy->wanted[frame];

  buffer->frame = frame;
  if (wanted == 0 || !read_frame (copy, buffer, wanted, &copy->failure)) {
    g_queue_push_head (&copy->free, buffer);
    if (wanted != 0)
      give_up (copy);
    return;
  }
  copy->wanted[frame] = 0;
  copy->left -= __builtin_popcount (wanted);
  g_queue_push_tail (&copy->filled, buffer);
  g_cond_broadcast (&copy->changed);
}

/* For a fault: waits until a buffer is free. NULL if it was given up. */
static Buffer *
wait_any_buffer (CopyBeforeWrite *copy)
{
  if (copy->free.length == 0) {
    gint64 begun = g_get_monotonic_time();
    copy->stats.waits++;
    while (!copy->given_up && copy->free.length == 0)
      g_cond_wait (&copy->changed, &copy->lock);
    copy->stats.wait_us += g_get_monotonic_time() - begun;
  }
  return copy->given_up ? NULL : g_queue_pop_head (&copy->free);
}

/* For the background: waits until no fault is at work and more than what is kept for them is free.
 * NULL if it was given up. */
static Buffer *
wait_spare_buffer (CopyBeforeWrite *copy)
{
  while (!copy->given_up && (copy->faulting > 0 || copy->free.length <= copy->reserved))
    g_cond_wait (&copy->changed, &copy->lock);
  return copy->given_up ? NULL : g_queue_pop_head (&copy->free);
}

/* Copies the frame of @page if @page is still to be copied. */
static void
copy_for_write (CopyBeforeWrite *copy, guint64 page)
{
  guint64 frame = page / FRAME_PAGES;

  if (copy->given_up || (copy->wanted[frame] & 1u << page % FRAME_PAGES) == 0)
    return;

  Buffer *buffer = wait_any_buffer (copy);
  if (buffer == NULL)
    return;
  /* It may have been copied meanwhile. */
  copy->stats.copied_faults += __builtin_popcount (copy->wanted[frame]);
  copy_frame (copy, buffer, frame);
}

/* The guard: @page is about to be written. */
static void
on_write (guint64 page, gpointer user_data)
{
  CopyBeforeWrite *copy = user_data;

  /* A mutex is not fair: without this the background would take it again and again. */
  copy->faulting++;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);
  copy_for_write (copy, page);
  if (--copy->faulting == 0)
    g_cond_broadcast (&copy->changed);
}

static gpointer
background_thread (gpointer data)
{
  CopyBeforeWrite *copy = data;

  for (guint64 frame = 0; frame < copy->frames; frame++) {
    g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);
    if (copy->wanted[frame] == 0)
      continue;

    Buffer *buffer = wait_spare_buffer (copy);
    if (buffer == NULL)
      return NULL;
    copy_frame (copy, buffer, frame);
  }
  return NULL;
}

/* ---- What the writer does ---- */

static gboolean
hand_out (const Buffer *buffer, PageFunc func, gpointer user_data, GError **error)
{
  for (guint i = 0; i < FRAME_PAGES; i++)
    if ((buffer->present & 1u << i) != 0 &&
        !func (buffer->frame * FRAME_PAGES + i, buffer->data + i * PAGE_SIZE_BYTES, user_data,
               error))
      return FALSE;
  return TRUE;
}

/* The next filled buffer; NULL at the end, or with @error. */
static Buffer *
take_filled (CopyBeforeWrite *copy, GCancellable *cancellable, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);

  for (;;) {
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return NULL;
    if (copy->failure != NULL) {
      g_propagate_error (error, g_error_copy (copy->failure));
      return NULL;
    }
    if (copy->filled.length > 0 || copy->left == 0)
      return g_queue_pop_head (&copy->filled);
    g_cond_wait (&copy->changed, &copy->lock);
  }
}

static void
put_back (CopyBeforeWrite *copy, Buffer *buffer)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);

  g_queue_push_head (&copy->free, buffer);
  g_cond_broadcast (&copy->changed);
}

static void
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  CopyBeforeWrite *copy = user_data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);

  give_up (copy);
}

static gboolean
drain (CopyBeforeWrite *copy, PageFunc func, gpointer user_data, GCancellable *cancellable,
       GError **error)
{
  g_autoptr (GError) cause = NULL;
  Buffer *buffer;

  while ((buffer = take_filled (copy, cancellable, &cause)) != NULL) {
    gboolean ok = hand_out (buffer, func, user_data, &cause);
    put_back (copy, buffer);
    if (!ok)
      break;
  }
  if (cause == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

gboolean
copy_before_write_drain (CopyBeforeWrite *copy, PageFunc func, gpointer user_data,
                         GCancellable *cancellable, GError **error)
{
  gulong id = 0;

  if (cancellable != NULL)
    id = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), copy, NULL);
  gboolean ok = drain (copy, func, user_data, cancellable, error);
  g_cancellable_disconnect (cancellable, id);
  if (!ok) {
    g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);
    give_up (copy);
  }
  return ok;
}

CopyBeforeWriteStats
copy_before_write_stats (CopyBeforeWrite *copy)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&copy->lock);

  return copy->stats;
}

/* ---- Begin and end ---- */

static void
set_wanted (CopyBeforeWrite *copy, const guint64 *pages, guint64 count)
{
  copy->frames = (count + FRAME_PAGES - 1) / FRAME_PAGES;
  copy->wanted = g_new0 (guint16, copy->frames);
  for (guint64 frame = 0; frame < copy->frames; frame++) {
    guint64 page = frame * FRAME_PAGES;
    copy->wanted[frame] = pages[page / WORD_PAGES] >> page % WORD_PAGES & FRAME_MASK;
    copy->left += __builtin_popcount (copy->wanted[frame]);
  }
  copy->stats.pages = copy->left;
}

CopyBeforeWrite *
copy_before_write_begin (WriteFaults *faults, int memory, const guint64 *pages, guint64 count,
                         gsize pool_bytes)
{
  CopyBeforeWrite *copy = g_new0 (CopyBeforeWrite, 1);
  gsize buffers = MAX (pool_bytes / sizeof (Buffer), RESERVED_PART * 2);

  copy->faults = faults;
  copy->memory = memory;
  g_mutex_init (&copy->lock);
  g_cond_init (&copy->changed);
  set_wanted (copy, pages, count);
  copy->reserved = buffers / RESERVED_PART;
  for (gsize i = 0; i < buffers; i++)
    g_queue_push_head (&copy->free, g_new (Buffer, 1));
  write_faults_set_guard (faults, on_write, copy);
  copy->background = g_thread_new ("copy-before-write", background_thread, copy);
  return copy;
}

static void
buffer_free (gpointer buffer)
{
  g_free (buffer);
}

void
copy_before_write_free (CopyBeforeWrite *copy)
{
  if (copy == NULL)
    return;
  g_mutex_lock (&copy->lock);
  give_up (copy);
  g_mutex_unlock (&copy->lock);
  g_thread_join (copy->background);
  write_faults_set_guard (copy->faults, NULL, NULL);
  g_queue_clear_full (&copy->free, buffer_free);
  g_queue_clear_full (&copy->filled, buffer_free);
  g_mutex_clear (&copy->lock);
  g_cond_clear (&copy->changed);
  g_clear_error (&copy->failure);
  g_free (copy->wanted);
  g_free (copy);
}

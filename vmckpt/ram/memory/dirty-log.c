/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-log.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* QEMU maps it, too, and whatever it does there must not hit this process: the file keeps its
 * length, and what says where things are is not read again once it was checked. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct _DirtyLog {
  struct dirty_log_header *header;
  gsize length; /* mapped bytes */
  guint64 pages;
  AutoFd fd;
  struct dirty_log_checkpoint base, source; /* as they were read last */
};

int
dirty_log_create (guint64 bytes, GError **error)
{
  struct dirty_log_header header = {
    .magic = DIRTY_LOG_MAGIC,
    .version = DIRTY_LOG_VERSION,
    .page_bytes = DIRTY_LOG_PAGE_BYTES,
    .pages = bytes / DIRTY_LOG_PAGE_BYTES,
  };
  g_auto (AutoFd) fd = memfd_create ("vmckpt-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  g_return_val_if_fail (bytes != 0 && bytes % DIRTY_LOG_PAGE_BYTES == 0, -1);
  if (fd < 0 || ftruncate (fd, dirty_log_file_bytes (header.pages)) < 0 ||
      fcntl (fd, F_ADD_SEALS, SEALS) < 0) {
    fd_set_errno_error (error, "making a log of written pages");
    return -1;
  }
  if (!fd_write_full (fd, &header, sizeof header, error))
    return -1;
  return fd_steal (&fd);
}

/* Whether @fd is long enough for what its header will say, and the header says what it should. */
static gboolean
check_file (int fd, guint64 pages, GError **error)
{
  struct dirty_log_header header = { 0 };
  struct stat st;

  if (fstat (fd, &st) < 0 || pread (fd, &header, sizeof header, 0) < 0)
    return fd_set_errno_error (error, "reading the log of written pages");
  int seals = fcntl (fd, F_GET_SEALS);
  if (seals >= 0 && (seals & SEALS) == SEALS &&
      (guint64)st.st_size >= dirty_log_file_bytes (pages) && header.magic == DIRTY_LOG_MAGIC &&
      header.version == DIRTY_LOG_VERSION && header.page_bytes == DIRTY_LOG_PAGE_BYTES &&
      header.pages == pages)
    return TRUE;
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                       "the guest's log of written pages is none, or of another version or size");
  return FALSE;
}

DirtyLog *
dirty_log_open (int fd, guint64 bytes, GError **error)
{
  g_autoptr (DirtyLog) log = g_new0 (DirtyLog, 1);
  void *map;

  log->pages = bytes / DIRTY_LOG_PAGE_BYTES;
  log->length = dirty_log_file_bytes (log->pages);
  log->fd = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  if (log->fd < 0) {
    fd_set_errno_error (error, "duplicating the log of written pages");
    return NULL;
  }
  if (!check_file (log->fd, log->pages, error))
    return NULL;
  map = mmap (NULL, log->length, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);
  if (map == MAP_FAILED) {
    fd_set_errno_error (error, "mapping the log of written pages");
    return NULL;
  }
  log->header = map;
  return g_steal_pointer (&log);
}

void
dirty_log_free (DirtyLog *log)
{
  if (log == NULL)
    return;
  if (log->header != NULL)
    munmap (log->header, log->length);
  fd_close (&log->fd);
  g_free (log);
}

int
dirty_log_fd (const DirtyLog *log)
{
  return log->fd;
}

struct dirty_log_header *
dirty_log_header (DirtyLog *log)
{
  return log->header;
}

guint64
dirty_log_pages (const DirtyLog *log)
{
  return log->pages;
}

/* ---- Bitmaps in shared memory ---- */

static _Atomic uint64_t *
words_of (const DirtyLog *log, enum dirty_log_bitmap which)
{
  return dirty_log_words_at (log->header, which, log->pages);
}

static gsize
word_count (const DirtyLog *log)
{
  return (log->pages + 63) / 64;
}

/* Adds the pages of @which to @set. */
static void
read_bits (DirtyLog *log, enum dirty_log_bitmap which, PageBitmap *set)
{
  const _Atomic uint64_t *words = words_of (log, which);

  g_return_if_fail (set->pages == log->pages);
  for (gsize i = 0; i < word_count (log); i++)
    set->words[i] |= atomic_load (&words[i]);
}

/* Clears all of @which. */
static void
clear_bits (DirtyLog *log, enum dirty_log_bitmap which)
{
  _Atomic uint64_t *words = words_of (log, which);

  for (gsize i = 0; i < word_count (log); i++)
    if (atomic_load_explicit (&words[i], memory_order_relaxed) != 0)
      atomic_store (&words[i], 0);
}

/* Adds the pages of @from to @to, both in the log. */
static void
merge_bits (DirtyLog *log, enum dirty_log_bitmap from, enum dirty_log_bitmap to)
{
  const _Atomic uint64_t *source = words_of (log, from);
  _Atomic uint64_t *target = words_of (log, to);

  for (gsize i = 0; i < word_count (log); i++) {
    guint64 word = atomic_load (&source[i]);
    if (word != 0)
      atomic_fetch_or (&target[i], word);
  }
}

/* ---- State ---- */

static guint32
get_state (const DirtyLog *log)
{
  return atomic_load (&log->header->state);
}

static enum dirty_log_bitmap
current_of (guint32 state)
{
  return (state & DIRTY_LOG_CURRENT_B) != 0 ? DIRTY_LOG_SINCE_B : DIRTY_LOG_SINCE_A;
}

static enum dirty_log_bitmap
other_of (guint32 state)
{
  return (state & DIRTY_LOG_CURRENT_B) != 0 ? DIRTY_LOG_SINCE_A : DIRTY_LOG_SINCE_B;
}

gboolean
dirty_log_recover (DirtyLog *log)
{
  gboolean doubt =
      atomic_load (&log->header->scanning) != 0 || atomic_load (&log->header->mode) == TRACK_SYNC;

  dirty_log_rollback (log);
  if (doubt)
    dirty_log_forget_base (log);
  return doubt;
}

static void
set_checkpoint (struct dirty_log_checkpoint *at, const char *store, const char *id)
{
  g_strlcpy (at->store, store, sizeof at->store);
  g_strlcpy (at->id, id, sizeof at->id);
}

/* Reads what may be anything into @copy. */
static void
read_checkpoint (struct dirty_log_checkpoint *copy, const struct dirty_log_checkpoint *at,
                 const char **store, const char **id)
{
  *copy = *at;
  copy->store[sizeof copy->store - 1] = copy->id[sizeof copy->id - 1] = '\0';
  if (store != NULL)
    *store = copy->store;
  if (id != NULL)
    *id = copy->id;
}

/* Writes the base into the place that is not in use, and returns @state that points there. */
static guint32
put_base (DirtyLog *log, guint32 state, const char *store, const char *id)
{
  guint32 turned = state ^ DIRTY_LOG_BASE_1;

  set_checkpoint (&log->header->bases[(turned & DIRTY_LOG_BASE_1) != 0], store, id);
  return turned | DIRTY_LOG_HAS_BASE;
}

gboolean
dirty_log_base (DirtyLog *log, const char **store, const char **id)
{
  guint32 state = get_state (log);
  const struct dirty_log_checkpoint *base = &log->header->bases[(state & DIRTY_LOG_BASE_1) != 0];

  if ((state & DIRTY_LOG_HAS_BASE) == 0 || atomic_load (&log->header->scanning) != 0 ||
      atomic_load (&log->header->mode) == TRACK_COMPARE)
    return FALSE;
  read_checkpoint (&log->base, base, store, id);
  return TRUE;
}

void
dirty_log_forget_base (DirtyLog *log)
{
  /* Without a base every page counts, whatever the bitmaps say; only then may they be cleared. */
  guint32 state = get_state (log) & ~(DIRTY_LOG_HAS_BASE | DIRTY_LOG_PENDING);

  atomic_store (&log->header->state, state);
  clear_bits (log, DIRTY_LOG_SINCE_A);
  clear_bits (log, DIRTY_LOG_SINCE_B);
  atomic_store (&log->header->scanning, 0);
}

void
dirty_log_set_base (DirtyLog *log, const char *store, const char *id)
{
  dirty_log_forget_base (log);
  atomic_store (&log->header->state, put_base (log, get_state (log), store, id));
}

void
dirty_log_rename_base (DirtyLog *log, const char *store, const char *id)
{
  atomic_store (&log->header->state, put_base (log, get_state (log), store, id));
}

void
dirty_log_read_written (DirtyLog *log, PageBitmap *written)
{
  guint32 state = get_state (log);

  read_bits (log, current_of (state), written);
  if ((state & DIRTY_LOG_PENDING) != 0)
    read_bits (log, other_of (state), written);
}

/* ---- From one checkpoint to the next ---- */

void
dirty_log_begin_scan (DirtyLog *log)
{
  atomic_store (&log->header->scanning, 1);
}

void
dirty_log_end_scan (DirtyLog *log)
{
  atomic_store (&log->header->scanning, 0);
}

void
dirty_log_add (DirtyLog *log, guint64 first, guint64 end)
{
  dirty_log_set_words (words_of (log, current_of (get_state (log))), first, MIN (end, log->pages));
}

void
dirty_log_instant (DirtyLog *log)
{
  dirty_log_rollback (log);
  /* Nobody reads the other one while it is not pending, so it may be cleared in peace; the one
   * store then makes it current and the former current one pending. */
  clear_bits (log, other_of (get_state (log)));
  /* A guest that stands still has no transfer going on, and what there was is collected. */
  clear_bits (log, DIRTY_LOG_BEGUN);
  atomic_store (&log->header->state, (get_state (log) ^ DIRTY_LOG_CURRENT_B) | DIRTY_LOG_PENDING);
}

void
dirty_log_commit (DirtyLog *log, const char *store, const char *id)
{
  guint32 state = get_state (log);

  g_return_if_fail ((state & DIRTY_LOG_PENDING) != 0);
  /* Killed before this store, the former base stays, with all that was written since: the new
   * checkpoint is then one that this log knows nothing of. */
  atomic_store (&log->header->state, put_base (log, state, store, id) & ~DIRTY_LOG_PENDING);
}

void
dirty_log_rollback (DirtyLog *log)
{
  guint32 state = get_state (log);

  if ((state & DIRTY_LOG_PENDING) == 0)
    return;
  merge_bits (log, other_of (state), current_of (state));
  atomic_store (&log->header->state, state & ~DIRTY_LOG_PENDING);
}

/* ---- What the preloaded object notes ---- */

/* Takes the marks of @which, or leaves them (BEGUN). Each word is taken only after it is noted
 * everywhere else, and bits that came meanwhile stay: killed in between, it is taken once more. */
static guint64
take_bits (DirtyLog *log, enum dirty_log_bitmap which, PageBitmap *found)
{
  _Atomic uint64_t *words = words_of (log, which);
  _Atomic uint64_t *since = words_of (log, current_of (get_state (log)));
  _Atomic uint64_t *present = words_of (log, DIRTY_LOG_PRESENT);
  guint64 count = 0;

  for (gsize i = 0; i < word_count (log); i++) {
    guint64 word = atomic_load (&words[i]);
    if (word == 0)
      continue;
    atomic_fetch_or (&since[i], word);
    if (which == DIRTY_LOG_DISCARDED)
      atomic_fetch_or (&present[i], word);
    if (found != NULL)
      found->words[i] |= word;
    if (which != DIRTY_LOG_BEGUN)
      atomic_fetch_and (&words[i], ~word);
    count += __builtin_popcountll (word);
  }
  return count;
}

guint64
dirty_log_take_marks (DirtyLog *log, PageBitmap *found)
{
  g_return_val_if_fail (found == NULL || found->pages == log->pages, 0);
  return take_bits (log, DIRTY_LOG_DISCARDED, found) +
         take_bits (log, DIRTY_LOG_TRANSFERRED, found) + take_bits (log, DIRTY_LOG_BEGUN, found);
}

/* ---- The lazy source ---- */

gboolean
dirty_log_source (DirtyLog *log, const char **store, const char **id)
{
  if (atomic_load (&log->header->source_set) == 0)
    return FALSE;
  read_checkpoint (&log->source, &log->header->source, store, id);
  return TRUE;
}

void
dirty_log_set_source (DirtyLog *log, const char *store, const char *id)
{
  atomic_store (&log->header->source_set, 0);
  clear_bits (log, DIRTY_LOG_PRESENT);
  clear_bits (log, DIRTY_LOG_DISCARDED);
  set_checkpoint (&log->header->source, store, id);
  atomic_store (&log->header->source_set, 1);
}

void
dirty_log_clear_source (DirtyLog *log)
{
  atomic_store (&log->header->source_set, 0);
}

/* Whether @page's bit is set in @which. */
static gboolean
test_bit (DirtyLog *log, enum dirty_log_bitmap which, guint64 page)
{
  return (atomic_load (&words_of (log, which)[page / 64]) >> page % 64 & 1) != 0;
}

gboolean
dirty_log_is_present (DirtyLog *log, guint64 page)
{
  /* In this order: a mark is taken only after "present" is set. */
  return test_bit (log, DIRTY_LOG_DISCARDED, page) || test_bit (log, DIRTY_LOG_PRESENT, page);
}

void
dirty_log_set_present (DirtyLog *log, guint64 first, guint64 end)
{
  dirty_log_set_words (words_of (log, DIRTY_LOG_PRESENT), first, MIN (end, log->pages));
}

void
dirty_log_read_present (DirtyLog *log, PageBitmap *present)
{
  read_bits (log, DIRTY_LOG_DISCARDED, present);
  read_bits (log, DIRTY_LOG_PRESENT, present);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "nbd-link.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <libnbd.h>

/* A question about extents. Here and not on a stack: libnbd may have it for longer than we wait. */
typedef struct {
  GArray *extents;        /* (nullable): nobody waits */
  guint64 offset, length; /* what was asked */
  gboolean wrong;         /* the answer makes no sense */
} Asked;

struct _NbdLink {
  struct nbd_handle *nbd;
  char *context;
  int patience_ms;
  gboolean has_context;
  guint64 size;
  guint64 answers; /* so far */
  int failure;     /* errno of the first that was an error; 0: none */
  Asked asked;
};

void
nbd_link_free (NbdLink *link)
{
  if (link == NULL)
    return;
  nbd_close (link->nbd);
  g_free (link->context);
  g_free (link);
}

guint64
nbd_link_size (const NbdLink *link)
{
  return link->size;
}

gboolean
nbd_link_has_context (const NbdLink *link)
{
  return link->has_context;
}

/* ---- Waiting ---- */

static gboolean
set_library_error (GError **error)
{
  const char *text = nbd_get_error();

  g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, text != NULL ? text : "libnbd failed");
  return FALSE;
}

static gboolean
set_failure (int failure, GError **error)
{
  /* QEMU's filter answers EACCES once it has lost anything, and NBD knows no such error. The
   * arguments are right: so it is that. */
  if (failure == EINVAL)
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_BROKEN,
                         "QEMU has not kept what the disk held at the instant: the temporary for "
                         "what the guest overwrites meanwhile was full or too slow");
  else
    g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED, "the server could not read the disk: %s",
                 g_strerror (failure));
  return FALSE;
}

/* Waits until the socket is ready for what libnbd wants next, and lets it go on. */
static gboolean
step (NbdLink *link, gint64 deadline_us, GCancellable *cancellable, GError **error)
{
  guint direction = nbd_aio_get_direction (link->nbd);
  GPollFD fds[2] = { { .fd = nbd_aio_get_fd (link->nbd) } };
  gint64 left_us = deadline_us - g_get_monotonic_time();
  guint count = 1;

  if (left_us <= 0) {
    g_set_error (error, DISK_ERROR, DISK_ERROR_STALLED, "no answer for %g s",
                 link->patience_ms / 1000.0);
    return FALSE;
  }
  fds[0].events = (direction & LIBNBD_AIO_DIRECTION_READ ? G_IO_IN : 0) |
                  (direction & LIBNBD_AIO_DIRECTION_WRITE ? G_IO_OUT : 0);
  count += g_cancellable_make_pollfd (cancellable, &fds[1]);
  int ready = g_poll (fds, count, (int)(left_us / 1000) + 1);
  if (count > 1)
    g_cancellable_release_fd (cancellable);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (ready < 0 && errno != EINTR)
    return fd_set_errno_error (error, "waiting for the server");
  if (ready <= 0 || fds[0].revents == 0)
    return TRUE;
  /* Its end is told by reading. */
  gboolean readable = (fds[0].revents & (G_IO_IN | G_IO_HUP | G_IO_ERR)) != 0;
  int result = readable && (direction & LIBNBD_AIO_DIRECTION_READ)
                   ? nbd_aio_notify_read (link->nbd)
                   : nbd_aio_notify_write (link->nbd);
  return result == 0 || set_library_error (error);
}

static gboolean
check_alive (NbdLink *link, GError **error)
{
  if (!nbd_aio_is_dead (link->nbd) && !nbd_aio_is_closed (link->nbd))
    return TRUE;
  g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "the server has gone away");
  return FALSE;
}

gboolean
nbd_link_wait (NbdLink *link, GCancellable *cancellable, GError **error)
{
  gint64 deadline_us = g_get_monotonic_time() + link->patience_ms * (gint64)1000;
  guint64 before = link->answers;

  while (link->answers == before && link->failure == 0)
    if (!step (link, deadline_us, cancellable, error) || !check_alive (link, error))
      return FALSE;
  return link->failure == 0 || set_failure (link->failure, error);
}

/* ---- Connecting ---- */

static gboolean
negotiate (NbdLink *link, GCancellable *cancellable, GError **error)
{
  gint64 deadline_us = g_get_monotonic_time() + link->patience_ms * (gint64)1000;

  while (!nbd_aio_is_ready (link->nbd))
    if (!step (link, deadline_us, cancellable, error) || !check_alive (link, error))
      return FALSE;
  int64_t size = nbd_get_size (link->nbd);
  int known = link->context != NULL ? nbd_can_meta_context (link->nbd, link->context) : 0;
  if (size < 0 || known < 0)
    return set_library_error (error);
  link->size = (guint64)size;
  link->has_context = known == 1;
  return TRUE;
}

NbdLink *
nbd_link_connect (const char *socket, const char *export_name, const char *context, int patience_ms,
                  GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "NBD export %s on %s", export_name, socket);
  g_autoptr (NbdLink) link = g_new0 (NbdLink, 1);
  g_auto (AutoFd) fd = fd_connect_unix_within (socket, patience_ms, error);

  link->patience_ms = patience_ms;
  link->context = g_strdup (context);
  link->nbd = nbd_create();
  if (fd < 0)
    return NULL;
  if (link->nbd == NULL || nbd_set_export_name (link->nbd, export_name) < 0 ||
      (context != NULL && nbd_add_meta_context (link->nbd, context) < 0) ||
      nbd_aio_connect_socket (link->nbd, fd_steal (&fd)) < 0) {
    set_library_error (error);
    return NULL;
  }
  return negotiate (link, cancellable, error) ? g_steal_pointer (&link) : NULL;
}

/* ---- Reading ---- */

typedef struct {
  NbdLink *link;
  gboolean *done;
  gsize missing; /* bytes of which nothing has come */
} Reading;

/* A chunk callback of libnbd, which has put the bytes where they belong. It does not look whether
 * all have come. */
static int
note_chunk (void *user_data, const void *bytes, size_t count, uint64_t offset, unsigned kind,
            int *failure)
{
  Reading *reading = user_data;

  if (count > reading->missing) {
    *failure = EPROTO;
    return -1;
  }
  reading->missing -= count;
  return 0;
}

/* A completion callback of libnbd. Returns 1: the command needs not be asked about any more. */
static int
read_done (void *user_data, int *failure)
{
  Reading *reading = user_data;

  if (*failure == 0 && reading->missing > 0)
    *failure = EPROTO;
  if (*failure != 0 && reading->link->failure == 0)
    reading->link->failure = *failure;
  *reading->done = TRUE;
  reading->link->answers++;
  return 1;
}

gboolean
nbd_link_read (NbdLink *link, guint64 offset, gsize length, guint8 *buffer, gboolean *done,
               GError **error)
{
  Reading *reading = g_new (Reading, 1);
  nbd_chunk_callback each = { note_chunk, reading, NULL };
  nbd_completion_callback all = { read_done, reading, g_free };

  *reading = (Reading){ link, done, length };
  *done = FALSE;
  /* The library frees what it is given, also where it fails. */
  return nbd_aio_pread_structured (link->nbd, buffer, length, offset, each, all, 0) >= 0 ||
         (check_alive (link, error) && set_library_error (error));
}

/* ---- Extents ---- */

/* An extent callback of libnbd: pairs of length and flags. */
static int
take_extents (void *user_data, const char *context, uint64_t offset, uint32_t *entries,
              size_t n_entries, int *failure)
{
  NbdLink *link = user_data;
  Asked *asked = &link->asked;
  guint64 at = offset, end = asked->offset + asked->length;

  if (asked->extents == NULL || g_strcmp0 (context, link->context) != 0)
    return 0;
  asked->wrong |= offset != asked->offset || asked->extents->len > 0;
  for (size_t i = 0; i + 1 < n_entries && at < end && !asked->wrong; i += 2) {
    /* The last one may go beyond what was asked. */
    NbdExtent extent = { at, MIN (entries[i], end - at), entries[i + 1] };
    asked->wrong = entries[i] == 0;
    at += extent.length;
    g_array_append_val (asked->extents, extent);
  }
  return 0;
}

static int
extents_done (void *user_data, int *failure)
{
  NbdLink *link = user_data;

  if (*failure != 0 && link->failure == 0)
    link->failure = *failure;
  link->asked.length = 0;
  link->answers++;
  return 1;
}

gboolean
nbd_link_extents (NbdLink *link, guint64 offset, guint64 length, GArray *extents,
                  GCancellable *cancellable, GError **error)
{
  nbd_extent_callback each = { .callback = take_extents, .user_data = link };
  nbd_completion_callback done = { .callback = extents_done, .user_data = link };
  gboolean ok = TRUE;

  g_array_set_size (extents, 0);
  link->asked = (Asked){ extents, offset, length, FALSE };
  if (nbd_aio_block_status (link->nbd, length, offset, each, done, 0) < 0)
    return check_alive (link, error) && set_library_error (error);
  while (ok && link->asked.length > 0)
    ok = nbd_link_wait (link, cancellable, error);
  link->asked.extents = NULL;
  if (ok && (link->asked.wrong || extents->len == 0)) {
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED,
                         "the server's answer about extents makes no sense");
    return FALSE;
  }
  return ok;
}

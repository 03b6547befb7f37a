/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the plugin answers: any bytes, zeros as holes, several at once, damage as an error. */
#include "disk-fixture.h"
#include "nbd-client.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/util/bytes.h>

#define CLIENTS 6
#define READS 200

typedef struct {
  DiskFixture store;
  char *directory;
  DiskServer *server;
  char *uri;
} Fixture;

static void
start (Fixture *f)
{
  g_autoptr (GError) error = NULL;
  const DiskServerOptions options = { .directory = f->directory,
                                      .store = f->store.path,
                                      .checkpoint = f->store.id,
                                      .key = f->store.key };

  f->server = disk_server_start (&options, NULL, &error);
  g_assert_no_error (error);
  f->uri = disk_server_uri (f->server, "disk0");
}

static void
set_up (Fixture *f, gconstpointer encrypted)
{
  disk_fixture_make (&f->store, encrypted != NULL);
  f->directory = fixture_directory_new();
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  disk_server_end (f->server, 0);
  g_free (f->uri);
  fixture_directory_remove (f->directory);
  disk_fixture_clear (&f->store);
}

/* One client of several: bytes from anywhere, of any length. */
static gpointer
read_anywhere (gpointer data)
{
  const Fixture *f = data;
  g_autoptr (NbdHandle) nbd = nbd_client_connect (f->uri);
  g_autoptr (GRand) rand = g_rand_new();
  g_autofree guint8 *buf = g_malloc (70000);

  for (guint i = 0; i < READS; i++) {
    guint64 at = g_rand_int_range (rand, 0, FIXTURE_DISK_BYTES - 1) & ~511u;
    gsize most = g_rand_int_range (rand, 1, 136) * 512;
    gsize len = MIN (most, FIXTURE_DISK_BYTES - at);
    if (nbd_pread (nbd, buf, len, at, 0) < 0)
      g_error ("%s", nbd_get_error());
    g_assert_cmpmem (buf, len, f->store.disk0 + at, len);
  }
  nbd_shutdown (nbd, 0);
  return NULL;
}

static void
test_read (Fixture *f, gconstpointer data)
{
  GThread *threads[CLIENTS];

  start (f);
  for (guint i = 0; i < CLIENTS; i++)
    threads[i] = g_thread_new ("client", read_anywhere, f);
  for (guint i = 0; i < CLIENTS; i++)
    g_thread_join (threads[i]);
  nbd_client_assert (f->uri, f->store.disk0, FIXTURE_DISK_BYTES);
}

typedef struct {
  guint64 next;
  const guint8 *disk;
  guint calls;
} Extents;

/* Each extent is what the disk has there: all zeros, or pages of which none is. */
static int
take_extents (void *data, const char *context, uint64_t offset, uint32_t *entries, size_t n,
              int *error)
{
  Extents *extents = data;

  g_assert_cmpuint (offset, ==, extents->next);
  extents->calls++;
  for (size_t i = 0; i < n; i += 2) {
    guint64 end = MIN (extents->next + entries[i], FIXTURE_DISK_BYTES);
    for (guint64 at = extents->next; at < end; at += PAGE_SIZE_BYTES) {
      gsize len = MIN (PAGE_SIZE_BYTES, end - at);
      g_assert_cmpint ((entries[i + 1] & LIBNBD_STATE_ZERO) != 0, ==,
                       bytes_all_zero (extents->disk + at, len));
    }
    extents->next = end;
  }
  return 0;
}

static void
walk_extents (Fixture *f, uint32_t flags, guint *calls)
{
  g_autoptr (NbdHandle) nbd = nbd_client_connect (f->uri);
  Extents extents = { .disk = f->store.disk0 };
  nbd_extent_callback each = { .callback = take_extents, .user_data = &extents };

  while (extents.next < FIXTURE_DISK_BYTES) {
    g_assert_cmpint (
        nbd_block_status (nbd, FIXTURE_DISK_BYTES - extents.next, extents.next, each, flags), ==,
        0);
  }
  *calls = extents.calls;
  nbd_shutdown (nbd, 0);
}

static void
test_extents (Fixture *f, gconstpointer data)
{
  guint whole, one;

  start (f);
  walk_extents (f, 0, &whole);
  walk_extents (f, LIBNBD_CMD_FLAG_REQ_ONE, &one);
  g_assert_cmpuint (whole, ==, 1);
  g_assert_cmpuint (one, >, 10); /* one extent each */
}

static gboolean
add_name (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  g_ptr_array_add (user_data, g_strdup (name));
  return TRUE;
}

/* What is damaged is an error that names the object; what is not goes on being served. */
static void
test_damage (Fixture *f, gconstpointer data)
{
  g_autoptr (Backend) backend = fixture_directory_backend (f->store.path);
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) packs = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *log = g_build_filename (f->directory, DISK_SERVER_FILE_LOG, NULL);
  g_autofree char *said = NULL;
  guint8 buf[4096];
  guint64 size;

  g_assert_true (backend->ops->list (backend, "packs/", add_name, packs, &error));
  /* Nodes of the map are read when they are first needed: before that. */
  start (f);
  guint calls;
  walk_extents (f, 0, &calls);
  g_autoptr (NbdHandle) nbd = nbd_client_connect (f->uri);
  for (guint i = 0; i < packs->len; i++) {
    g_assert_true (backend->ops->stat (backend, packs->pdata[i], &size, &error));
    g_autofree char *path = g_build_filename (f->store.path, packs->pdata[i], NULL);
    g_autofree guint8 *junk = g_malloc (size);
    memset (junk, 'j', size);
    g_assert_true (backend->ops->remove (backend, packs->pdata[i], &error));
    g_assert_true (g_file_set_contents (path, (char *)junk, size, &error));
  }
  g_assert_cmpint (nbd_pread (nbd, buf, sizeof buf, 300 * 4096, 0), ==, -1);
  g_assert_cmpint (nbd_get_errno(), ==, EIO);
  g_assert_cmpint (nbd_pread (nbd, buf, sizeof buf, 100 * 4096, 0), ==, 0); /* zeros */
  g_assert_true (g_file_get_contents (log, &said, NULL, &error));
  g_assert_nonnull (strstr (said, "disk0 of g1"));
  g_assert_nonnull (strstr (said, "packs/"));
}

static void
test_names (Fixture *f, gconstpointer data)
{
  start (f);
  g_autofree char *other = disk_server_uri (f->server, "disk9");
  g_autofree char *first = disk_server_uri (f->server, NULL);
  NbdHandle *nbd = nbd_create();

  g_assert_cmpint (nbd_set_uri_allow_local_file (nbd, true), ==, 0);
  g_assert_cmpint (nbd_connect_uri (nbd, other), ==, -1);
  nbd_close (nbd);
  nbd = nbd_client_connect (first);
  g_assert_cmpint (nbd_is_read_only (nbd), ==, 1);
  g_assert_cmpint (nbd_can_multi_conn (nbd), ==, 1);
  g_assert_cmpint (nbd_get_block_size (nbd, LIBNBD_SIZE_PREFERRED), ==, PAGE_SIZE_BYTES);
  g_assert_cmpint (nbd_get_block_size (nbd, LIBNBD_SIZE_MINIMUM), ==, 512);
  nbd_close (nbd);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/nbd-plugin/read", Fixture, NULL, set_up, test_read, tear_down);
  g_test_add ("/nbd-plugin/read-encrypted", Fixture, "", set_up, test_read, tear_down);
  g_test_add ("/nbd-plugin/extents", Fixture, NULL, set_up, test_extents, tear_down);
  g_test_add ("/nbd-plugin/damage", Fixture, NULL, set_up, test_damage, tear_down);
  g_test_add ("/nbd-plugin/names", Fixture, NULL, set_up, test_names, tear_down);
  return g_test_run();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The duties of a backend, tried on every one there is. */
#include "store-fixture.h"

#include "backend-sealed.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char *path; /* NULL: in memory */
  Backend *backend;
} Fixture;

/* @kind: "directory", "sealed" (in front of a directory), or NULL: memory. */
static void
set_up (Fixture *fixture, gconstpointer kind)
{
  static const SealKey key = { "a key that everybody here knows" };

  fixture->path = kind != NULL ? fixture_directory_new() : NULL;
  fixture->backend =
      kind != NULL ? fixture_directory_backend (fixture->path) : backend_memory_new();
  if (g_strcmp0 (kind, "sealed") == 0)
    fixture->backend = backend_sealed_new (fixture->backend, &key);
}

static void
tear_down (Fixture *fixture, gconstpointer directory)
{
  backend_free (fixture->backend);
  if (fixture->path != NULL)
    fixture_directory_remove (fixture->path);
}

static gboolean
put (Backend *backend, const char *name, const char *text)
{
  g_autoptr (GBytes) bytes = g_bytes_new (text, strlen (text));
  g_autoptr (GError) error = NULL;
  gboolean existed = 42;

  backend->ops->put_if_absent (backend, name, bytes, &existed, &error);
  g_assert_no_error (error);
  g_assert_true (existed == TRUE || existed == FALSE);
  return existed;
}

static void
assert_content (Backend *backend, const char *name, const char *text)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = backend->ops->get (backend, name, 0, G_MAXSIZE, &error);
  guint64 size;

  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), text, strlen (text));
  g_assert_true (backend->ops->stat (backend, name, &size, &error));
  g_assert_cmpuint (size, ==, strlen (text));
}

/* What is put is there; a second put changes nothing. */
static void
test_put (Fixture *fixture, gconstpointer directory)
{
  g_assert_false (put (fixture->backend, "packs/ab/one", "first"));
  g_assert_true (put (fixture->backend, "packs/ab/one", "second"));
  assert_content (fixture->backend, "packs/ab/one", "first");
  g_assert_false (put (fixture->backend, "empty", ""));
  assert_content (fixture->backend, "empty", "");
}

static void
assert_get_fails (Backend *backend, const char *name, guint64 offset, gsize len, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (backend->ops->get (backend, name, offset, len, &error));
  g_assert_error (error, G_IO_ERROR, code);
}

/* Ranges, and what is beyond the end. */
static void
test_get (Fixture *fixture, gconstpointer directory)
{
  Backend *backend = fixture->backend;
  g_autoptr (GError) error = NULL;
  guint64 size;

  put (backend, "object", "0123456789");
  g_autoptr (GBytes) middle = backend->ops->get (backend, "object", 3, 4, &error);
  g_assert_cmpmem (g_bytes_get_data (middle, NULL), g_bytes_get_size (middle), "3456", 4);
  g_autoptr (GBytes) rest = backend->ops->get (backend, "object", 8, G_MAXSIZE, &error);
  g_assert_cmpmem (g_bytes_get_data (rest, NULL), g_bytes_get_size (rest), "89", 2);
  g_autoptr (GBytes) nothing = backend->ops->get (backend, "object", 10, G_MAXSIZE, &error);
  g_assert_cmpuint (g_bytes_get_size (nothing), ==, 0);
  assert_get_fails (backend, "object", 8, 3, G_IO_ERROR_PARTIAL_INPUT);
  assert_get_fails (backend, "object", 11, G_MAXSIZE, G_IO_ERROR_PARTIAL_INPUT);
  assert_get_fails (backend, "object", G_MAXUINT64, 2, G_IO_ERROR_PARTIAL_INPUT);
  assert_get_fails (backend, "object", 1, G_MAXSIZE - 1, G_IO_ERROR_PARTIAL_INPUT);
  assert_get_fails (backend, "nothing", 0, 1, G_IO_ERROR_NOT_FOUND);
  g_assert_false (backend->ops->stat (backend, "packs/nothing", &size, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

static gboolean
collect (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  g_assert_cmpint (ABS (g_get_real_time() - mtime_us), <, G_TIME_SPAN_HOUR);
  g_ptr_array_add (user_data, g_strdup_printf ("%s=%" G_GUINT64_FORMAT, name, size));
  return TRUE;
}

static int
compare (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char **)a, *(const char **)b);
}

static void
assert_lists (Backend *backend, const char *prefix, const char *expected)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;

  g_assert_true (backend->ops->list (backend, prefix, collect, names, &error));
  g_assert_no_error (error);
  g_ptr_array_sort (names, compare);
  g_ptr_array_add (names, NULL);
  g_autofree char *text = g_strjoinv (" ", (GStrv)names->pdata);
  g_assert_cmpstr (text, ==, expected);
}

static gboolean
stop_at_once (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  (*(guint *)user_data)++;
  return FALSE;
}

static void
test_list (Fixture *fixture, gconstpointer directory)
{
  Backend *backend = fixture->backend;
  g_autoptr (GError) error = NULL;
  guint calls = 0;

  assert_lists (backend, "packs/", "");
  put (backend, "packs/ab/abc", "x");
  put (backend, "packs/cd/cde", "yy");
  put (backend, "packsother", "z");
  put (backend, "index/i", "");
  assert_lists (backend, "packs/", "packs/ab/abc=1 packs/cd/cde=2");
  assert_lists (backend, "packs/ab/", "packs/ab/abc=1");
  assert_lists (backend, "", "index/i=0 packs/ab/abc=1 packs/cd/cde=2 packsother=1");
  assert_lists (backend, "none/", "");
  g_assert_true (backend->ops->list (backend, "", stop_at_once, &calls, &error));
  g_assert_cmpuint (calls, ==, 1);
}

static void
test_remove (Fixture *fixture, gconstpointer directory)
{
  Backend *backend = fixture->backend;
  g_autoptr (GError) error = NULL;

  put (backend, "tags/t", "x");
  g_assert_true (backend->ops->remove (backend, "tags/t", &error));
  g_assert_true (backend->ops->remove (backend, "tags/t", &error));
  g_assert_true (backend->ops->remove (backend, "never/was", &error));
  assert_get_fails (backend, "tags/t", 0, 1, G_IO_ERROR_NOT_FOUND);
  g_assert_false (put (backend, "tags/t", "again"));
  g_assert_true (backend->ops->sync (backend, &error));
  g_assert_no_error (error);
}

/* Names that could leave the store's place are refused. */
static void
test_names (Fixture *fixture, gconstpointer directory)
{
  static const char *const bad[] = { "",      "/etc/passwd", "../x", "a/../b", "a//b", "a/",
                                     ".hide", "a/.b",        "a b",  "a\nb",   "ä",    "a/-b" };
  Backend *backend = fixture->backend;
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    gboolean existed;
    g_assert_false (backend->ops->put_if_absent (backend, bad[i], bytes, &existed, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME);
    assert_get_fails (backend, bad[i], 0, 1, G_IO_ERROR_INVALID_FILENAME);
  }
}

/* A stream begun and filled with @text, in two pieces. */
static BackendStream *
begin_stream (Backend *backend, const char *text)
{
  g_autoptr (GError) error = NULL;
  BackendStream *stream = backend->ops->stream_begin (backend, &error);
  gsize half = strlen (text) / 2;

  g_assert_no_error (error);
  g_assert_true (backend->ops->stream_write (stream, text, half, &error));
  g_assert_true (backend->ops->stream_write (stream, text + half, strlen (text) - half, &error));
  return stream;
}

static gboolean
commit_stream (BackendStream *stream, const char *name)
{
  g_autoptr (GError) error = NULL;
  gboolean existed = 42;

  g_assert_true (stream->backend->ops->stream_commit (stream, name, &existed, &error));
  g_assert_no_error (error);
  g_assert_true (existed == TRUE || existed == FALSE);
  return existed;
}

/* Nothing is seen before the commit, then all; a name that is taken stays as it is. */
static void
test_stream (Fixture *fixture, gconstpointer directory)
{
  Backend *backend = fixture->backend;
  g_autoptr (BackendStream) one = begin_stream (backend, "the first of them");
  g_autoptr (BackendStream) two = begin_stream (backend, "and the second");
  g_autoptr (BackendStream) none = begin_stream (backend, "");
  g_autoptr (GError) error = NULL;

  assert_get_fails (backend, "index/one", 0, 1, G_IO_ERROR_NOT_FOUND);
  assert_lists (backend, "index/", "");
  g_assert_false (commit_stream (one, "index/one"));
  assert_content (backend, "index/one", "the first of them");
  g_assert_true (commit_stream (two, "index/one"));
  g_assert_false (commit_stream (none, "index/none"));
  assert_content (backend, "index/one", "the first of them");
  assert_content (backend, "index/none", "");
  g_assert_true (backend->ops->sync (backend, &error));
  /* Freed after the commit: the object stays, the one that was not needed is gone. */
  g_clear_pointer (&one, backend_stream_free);
  g_clear_pointer (&two, backend_stream_free);
  g_clear_pointer (&none, backend_stream_free);
  assert_lists (backend, "", "index/none=0 index/one=17");
}

/* A stream that is given up leaves nothing; neither does one whose name cannot be. */
static void
test_stream_dropped (Fixture *fixture, gconstpointer directory)
{
  Backend *backend = fixture->backend;
  g_autoptr (GError) error = NULL;
  gboolean existed;

  backend_stream_free (begin_stream (backend, "never seen"));
  assert_lists (backend, "", "");
  g_autoptr (BackendStream) stream = begin_stream (backend, "never seen either");
  g_assert_false (backend->ops->stream_commit (stream, "../out", &existed, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME);
  g_clear_pointer (&stream, backend_stream_free);
  assert_lists (backend, "", "");
}

typedef struct {
  Backend *backend;
  int winners; /* (atomic) */
} Race;

static gpointer
race_main (gpointer data)
{
  Race *race = data;

  for (int i = 0; i < 50; i++) {
    g_autofree char *name = g_strdup_printf ("race/%d", i);
    g_autoptr (BackendStream) stream = i % 2 == 1 ? begin_stream (race->backend, name) : NULL;
    if (!(stream != NULL ? commit_stream (stream, name) : put (race->backend, name, name)))
      g_atomic_int_inc (&race->winners);
    assert_content (race->backend, name, name);
  }
  return NULL;
}

/* Of several threads that put the same name, exactly one does; nobody sees half an object. */
static void
test_race (Fixture *fixture, gconstpointer directory)
{
  Race race = { fixture->backend, 0 };
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("race", race_main, &race);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_assert_cmpint (race.winners, ==, 50);
}

static void
test_space (Fixture *fixture, gconstpointer directory)
{
  g_autoptr (GError) error = NULL;
  guint64 available = 0;

  g_assert_true (fixture->backend->ops->space (fixture->backend, &available, &error));
  g_assert_cmpuint (available, >, 0);
}

/* ---- The directory alone ---- */

/* A directory that went away (an unmounted file system) is an error, not an empty store, and
 * nothing is written below. */
static void
test_vanished (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autofree char *inner = g_build_filename (path, "store", NULL);
  g_autofree char *moved = g_build_filename (path, "moved", NULL);
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (inner));
  g_autoptr (GError) error = NULL;
  guint64 available;

  g_assert_true (store_probe_writable (store, &available, &error));
  g_assert_cmpint (rename (inner, moved), ==, 0);
  g_assert_cmpint (mkdir (inner, 0700), ==, 0); /* the mount point */
  g_assert_false (store_probe_writable (store, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_UNREACHABLE);
  g_clear_error (&error);
  g_assert_null (store_writer_begin (store, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_UNREACHABLE);
  g_clear_error (&error);
  g_assert_null (store_manifest_list (store, NULL, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_UNREACHABLE);
  g_clear_error (&error);
  g_autoptr (Backend) backend = backend_directory_open (inner, FALSE, &error);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  gboolean existed;
  g_assert_false (backend->ops->put_if_absent (backend, "packs/ab/x", bytes, &existed, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_assert_cmpint (rmdir (inner), ==, 0); /* still empty */
}

static void
test_open_errors (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autofree char *file = g_build_filename (path, "file", NULL);
  g_autofree char *none = g_build_filename (path, "none", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_null (backend_directory_open (none, FALSE, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_true (g_file_set_contents (file, "", 0, NULL));
  g_assert_null (backend_directory_open (file, FALSE, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY);
}

/* What is made is its owner's alone; what is there is left alone. */
static void
test_mode (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autofree char *inner = g_build_filename (path, "above", "store", NULL);
  g_autoptr (Backend) backend = backend_directory_open (inner, TRUE, NULL);
  struct stat st;

  g_assert_nonnull (backend);
  g_assert_cmpint (stat (inner, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 0777, ==, 0700);
  g_assert_cmpint (chmod (inner, 0751), ==, 0);
  g_autoptr (Backend) again = backend_directory_open (inner, TRUE, NULL);
  g_assert_cmpint (stat (inner, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 0777, ==, 0751);
}

/* Somebody has put a pipe in an object's place: nobody waits for its other end. */
static void
test_pipe (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  g_autofree char *pipe = g_build_filename (path, "format", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (mkfifo (pipe, 0600), ==, 0);
  g_assert_null (backend->ops->get (backend, "format", 0, G_MAXSIZE, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE);
}

#define ADD(name, func)                                                                            \
  g_test_add ("/store/backend/directory/" name, Fixture, "directory", set_up, func, tear_down);    \
  g_test_add ("/store/backend/sealed/" name, Fixture, "sealed", set_up, func, tear_down);          \
  g_test_add ("/store/backend/memory/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("put", test_put);
  ADD ("get", test_get);
  ADD ("list", test_list);
  ADD ("remove", test_remove);
  ADD ("names", test_names);
  ADD ("stream", test_stream);
  ADD ("stream-dropped", test_stream_dropped);
  ADD ("race", test_race);
  ADD ("space", test_space);
  g_test_add_func ("/store/backend/vanished", test_vanished);
  g_test_add_func ("/store/backend/mode", test_mode);
  g_test_add_func ("/store/backend/pipe", test_pipe);
  g_test_add_func ("/store/backend/open-errors", test_open_errors);
  return g_test_run();
}

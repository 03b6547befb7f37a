/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The invariants of docs/store-format.md, one test each, of its name. They show what each means on
 * small stores in memory; the tests that the document names beside them go into the corners.
 */
#include "store-fixture.h"

#include "pack.h"
#include "store-private.h"

#include <vmckpt/store/key.h>
#include <vmckpt/store/repair.h>

#define PAGES 300

/* ---- A backend that writes down what is done, and fails when it is told ---- */

typedef struct {
  Backend backend;
  Backend *inner;
  GMutex lock;
  GPtrArray *journal; /* (lock) of char*: "put NAME", "remove NAME", "sync" */
  int puts_left;      /* (lock) puts that succeed; -1: all */
} Recorder;

typedef struct {
  BackendStream stream;
  BackendStream *inner;
} RecorderStream;

static void
recorder_note (Recorder *self, const char *what, const char *name)
{
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->journal, g_strconcat (what, name, NULL));
  g_mutex_unlock (&self->lock);
}

static gboolean
recorder_may_put (Recorder *self, GError **error)
{
  g_mutex_lock (&self->lock);
  gboolean good = self->puts_left != 0;
  if (self->puts_left > 0)
    self->puts_left--;
  g_mutex_unlock (&self->lock);
  if (!good)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "no space is left");
  return good;
}

static gboolean
recorder_put (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  Recorder *self = (Recorder *)backend;

  if (!recorder_may_put (self, error) ||
      !self->inner->ops->put_if_absent (self->inner, name, data, existed, error))
    return FALSE;
  recorder_note (self, "put ", name);
  return TRUE;
}

static GBytes *
recorder_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  Recorder *self = (Recorder *)backend;
  return self->inner->ops->get (self->inner, name, offset, len, error);
}

static gboolean
recorder_stat (Backend *backend, const char *name, guint64 *size, GError **error)
{
  Recorder *self = (Recorder *)backend;
  return self->inner->ops->stat (self->inner, name, size, error);
}

static gboolean
recorder_list (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
               GError **error)
{
  Recorder *self = (Recorder *)backend;
  return self->inner->ops->list (self->inner, prefix, func, user_data, error);
}

static gboolean
recorder_remove (Backend *backend, const char *name, GError **error)
{
  Recorder *self = (Recorder *)backend;
  recorder_note (self, "remove ", name);
  return self->inner->ops->remove (self->inner, name, error);
}

static gboolean
recorder_sync (Backend *backend, GError **error)
{
  Recorder *self = (Recorder *)backend;
  recorder_note (self, "sync", "");
  return self->inner->ops->sync (self->inner, error);
}

static gboolean
recorder_space (Backend *backend, guint64 *available, GError **error)
{
  Recorder *self = (Recorder *)backend;
  return self->inner->ops->space (self->inner, available, error);
}

static BackendStream *
recorder_stream_begin (Backend *backend, GError **error)
{
  Recorder *self = (Recorder *)backend;
  BackendStream *inner = self->inner->ops->stream_begin (self->inner, error);
  RecorderStream *stream;

  if (inner == NULL)
    return NULL;
  stream = g_new0 (RecorderStream, 1);
  stream->stream.backend = backend;
  stream->inner = inner;
  return &stream->stream;
}

static gboolean
recorder_stream_write (BackendStream *stream, const void *data, gsize len, GError **error)
{
  BackendStream *inner = ((RecorderStream *)stream)->inner;
  return inner->backend->ops->stream_write (inner, data, len, error);
}

static gboolean
recorder_stream_commit (BackendStream *stream, const char *name, gboolean *existed, GError **error)
{
  BackendStream *inner = ((RecorderStream *)stream)->inner;
  Recorder *self = (Recorder *)stream->backend;

  if (!recorder_may_put (self, error) ||
      !inner->backend->ops->stream_commit (inner, name, existed, error))
    return FALSE;
  recorder_note (self, "put ", name);
  return TRUE;
}

static void
recorder_stream_free (BackendStream *stream)
{
  backend_stream_free (((RecorderStream *)stream)->inner);
  g_free (stream);
}

static void
recorder_free (Backend *backend)
{
  Recorder *self = (Recorder *)backend;

  backend_free (self->inner);
  g_ptr_array_unref (self->journal);
  g_mutex_clear (&self->lock);
  g_free (backend->location);
  g_free (self);
}

static const BackendOps recorder_ops = {
  .put_if_absent = recorder_put,
  .get = recorder_get,
  .stat = recorder_stat,
  .list = recorder_list,
  .remove = recorder_remove,
  .sync = recorder_sync,
  .space = recorder_space,
  .stream_begin = recorder_stream_begin,
  .stream_write = recorder_stream_write,
  .stream_commit = recorder_stream_commit,
  .stream_free = recorder_stream_free,
  .free = recorder_free,
};

static Recorder *
recorder_new (void)
{
  Recorder *self = g_new0 (Recorder, 1);

  self->backend.ops = &recorder_ops;
  self->backend.location = g_strdup ("memory:");
  self->inner = backend_memory_new();
  self->journal = g_ptr_array_new_with_free_func (g_free);
  self->puts_left = -1;
  g_mutex_init (&self->lock);
  return self;
}

/* ---- All objects of a store ---- */

static gboolean
collect_name (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  g_hash_table_insert (user_data, g_strdup (name), NULL);
  return TRUE;
}

/* (transfer full) (element-type char* GBytes) */
static GHashTable *
objects_of (Backend *backend)
{
  g_autoptr (GError) error = NULL;
  GHashTable *objects =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
  GHashTableIter iter;
  gpointer name;

  backend->ops->list (backend, "", collect_name, objects, &error);
  g_assert_no_error (error);
  g_hash_table_iter_init (&iter, objects);
  while (g_hash_table_iter_next (&iter, &name, NULL)) {
    GBytes *bytes = backend->ops->get (backend, name, 0, G_MAXSIZE, &error);
    g_assert_no_error (error);
    g_hash_table_iter_replace (&iter, bytes);
  }
  return objects;
}

/* A store that has these objects, of which @changed (nullable) has a byte flipped at @at. */
static Store *
store_of (GHashTable *objects, const char *changed, gsize at)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_memory_new();
  GHashTableIter iter;
  gpointer name, bytes;

  g_hash_table_iter_init (&iter, objects);
  while (g_hash_table_iter_next (&iter, &name, &bytes)) {
    gboolean existed;
    gsize len;
    g_autofree guint8 *copy = NULL;
    const guint8 *data = g_bytes_get_data (bytes, &len);
    copy = g_memdup2 (data, len);
    if (g_strcmp0 (name, changed) == 0)
      copy[at] ^= 0x10;
    g_autoptr (GBytes) put = g_bytes_new (copy, len);
    g_assert_true (backend->ops->put_if_absent (backend, name, put, &existed, &error));
  }
  Store *store = store_open (backend, &error);
  g_assert_no_error (error);
  return store;
}

static guint64 *
seeds_new (guint64 first)
{
  guint64 *seeds = g_new (guint64, PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i % 3 == 0 ? 1 + i : first + i;
  return seeds;
}

static guint
count_checkpoints (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, NULL, &error);

  g_assert_no_error (error);
  return manifests->len;
}

static void
collect_garbage (Store *store)
{
  g_autoptr (GError) error = NULL;

  store_gc (store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
}

/* ---- 1 ---- */

/* Everything that is there is written, and durable, before the manifest; and the manifest alone
 * makes the checkpoint, and unmakes it. */
static void
test_exists_iff (void)
{
  g_autoptr (GError) error = NULL;
  Recorder *recorder = recorder_new();
  g_autoptr (Store) store = fixture_store_new (&recorder->backend);
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMap map = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);

  g_assert_true (store_writer_flush (writer, NULL, &error));
  g_assert_cmpuint (count_checkpoints (store), ==, 0);
  g_autoptr (Manifest) manifest = fixture_commit (writer, "g1", 1, &map);
  g_assert_cmpuint (count_checkpoints (store), ==, 1);
  guint synced = 0, at = 0, last = 0;
  for (guint i = 0; i < recorder->journal->len && at == 0; i++) {
    const char *line = recorder->journal->pdata[i];
    if (g_str_equal (line, "sync"))
      synced = i;
    else if (g_str_has_prefix (line, "put packs/") || g_str_has_prefix (line, "put index/"))
      last = i;
    else if (g_str_has_prefix (line, "put manifests/"))
      at = i;
  }
  g_assert_true (0 < last && last < synced && synced < at);
  /* No pack and no table of it came later. */
  for (guint i = at + 1; i < recorder->journal->len; i++)
    g_assert_false (g_str_has_prefix (recorder->journal->pdata[i], "put "));
  g_assert_cmpstr (recorder->journal->pdata[at + 1], ==, "sync");
  g_autofree char *object = g_strconcat ("manifests/", manifest->id, NULL);
  g_autoptr (GBytes) bytes = store_get (store, object, 0, G_MAXSIZE, &error);
  g_assert_true (store_remove (store, object, &error));
  g_assert_cmpuint (count_checkpoints (store), ==, 0);
  g_assert_true (store_put (store, object, bytes, NULL, &error));
  fixture_assert_checkpoint (store, manifest->id, seeds, PAGES);
}

/* ---- 2 ---- */

static void
assert_names (Store *store, GHashTable *objects)
{
  static const char *const by_content[] = { "manifests", "tags", "index" };
  GHashTableIter iter;
  gpointer name, bytes;

  g_hash_table_iter_init (&iter, objects);
  while (g_hash_table_iter_next (&iter, &name, &bytes)) {
    g_autoptr (GError) error = NULL;
    ChunkName hash, actual;
    for (guint i = 0; i < G_N_ELEMENTS (by_content); i++) {
      if (!object_name_parse (name, by_content[i], &hash))
        continue;
      chunk_name_of (&store->key, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                     &actual);
      g_assert_true (chunk_name_equal (&hash, &actual));
    }
    if (object_name_parse (name, "packs", &hash)) {
      g_autoptr (PackFooter) footer = pack_footer_load (store->backend, &store->key, &hash, &error);
      g_assert_no_error (error);
      g_assert_nonnull (footer);
    }
  }
}

/* What is there under a name now and was there before is the same. */
static void
assert_unchanged (GHashTable *before, GHashTable *now)
{
  GHashTableIter iter;
  gpointer name, bytes;

  g_hash_table_iter_init (&iter, now);
  while (g_hash_table_iter_next (&iter, &name, &bytes)) {
    GBytes *was = g_hash_table_lookup (before, name);
    g_assert_true (was == NULL || g_bytes_equal (was, bytes));
  }
}

/* Through checkpoints, tags, removal and gc no object changes, and names are hashes. */
static void
test_immutable (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GHashTable) before = objects_of (store->backend);
  g_autoptr (GPtrArray) ids = g_ptr_array_new_with_free_func (g_free);

  /* As many as make writers merge index tables. */
  for (guint i = 0; i < 24; i++) {
    g_autofree guint64 *seeds = seeds_new (1000 * (i + 1));
    g_autoptr (Manifest) manifest = fixture_checkpoint (store, i, seeds, PAGES, NULL, NULL);
    g_ptr_array_add (ids, g_strdup (manifest->id));
    if (i % 3 == 0)
      g_assert_true (store_tag_add (store, manifest->id, "t", &error));
    if (i % 4 == 3)
      g_assert_true (store_manifest_remove (store, ids->pdata[i - 2], &error));
    if (i % 8 == 7)
      collect_garbage (store);
    g_autoptr (GHashTable) now = objects_of (store->backend);
    assert_names (store, now);
    assert_unchanged (before, now);
    g_hash_table_unref (g_steal_pointer (&before));
    before = g_steal_pointer (&now);
  }
  GHashTableIter iter;
  gpointer name, bytes;
  g_hash_table_iter_init (&iter, before);
  while (g_hash_table_iter_next (&iter, &name, &bytes)) {
    g_autoptr (GBytes) other = g_bytes_new_static ("other", 5);
    gboolean existed = FALSE;
    g_assert_true (store_put (store, name, other, &existed, &error));
    g_assert_true (existed);
  }
  g_autoptr (GHashTable) after = objects_of (store->backend);
  assert_unchanged (before, after);
}

/* ---- 3 ---- */

#define CHAIN 6

/* Any checkpoints of a chain of increments go; each of the others is whole, also after gc. */
static void
test_full (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Manifest) parent = NULL;
  guint64 *seeds[CHAIN];
  char *ids[CHAIN];

  for (guint i = 0; i < CHAIN; i++) {
    seeds[i] = i == 0 ? seeds_new (1000) : g_memdup2 (seeds[i - 1], PAGES * sizeof (guint64));
    for (guint page = i; i > 0 && page < PAGES; page += 7 * i)
      seeds[i][page] = page % 5 == 0 ? 0 : 100000 * i + page;
    g_autoptr (Manifest) next =
        fixture_checkpoint (store, i, seeds[i], PAGES, parent, i > 0 ? seeds[i - 1] : NULL);
    ids[i] = g_strdup (next->id);
    g_clear_pointer (&parent, manifest_free);
    parent = g_steal_pointer (&next);
  }
  g_autoptr (GHashTable) objects = objects_of (store->backend);
  for (guint gone = 0; gone < 1u << CHAIN; gone++) {
    g_autoptr (Store) copy = store_of (objects, NULL, 0);
    for (guint i = 0; i < CHAIN; i++)
      if (gone & 1u << i)
        g_assert_true (store_manifest_remove (copy, ids[i], &error));
    collect_garbage (copy);
    for (guint i = 0; i < CHAIN; i++)
      if (!(gone & 1u << i))
        fixture_assert_checkpoint (copy, ids[i], seeds[i], PAGES);
  }
  for (guint i = 0; i < CHAIN; i++) {
    g_free (seeds[i]);
    g_free (ids[i]);
  }
}

/* ---- 4 ---- */

/* The same page in RAM and on a disk, at any place, is stored once; without any index table all is
 * read, and the tables are made again from the packs. */
static void
test_identity (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *ram = seeds_new (1000);
  guint64 disk[PAGES];
  StoreStats stats;
  StoreWriterStats written;
  for (guint i = 0; i < PAGES; i++)
    disk[i] = ram[(i + 17) % PAGES];
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMap one = fixture_write_map (writer, ram, PAGES, NULL, NULL, NULL);
  PageMap two = fixture_write_map (writer, disk, PAGES, NULL, NULL, NULL);
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);
  manifest_add_part (manifest, "ram", "pc.ram", &one);
  manifest_add_part (manifest, "disk", "vda", &two);
  g_assert_true (store_writer_commit (writer, manifest, NULL, &error));
  store_writer_stats (writer, &written);
  g_assert_cmpuint (written.new_bytes, ==, PAGES * PAGE_SIZE_BYTES);
  g_assert_true (store_stats (store, FALSE, &stats, NULL, NULL, &error));
  guint64 chunks = stats.chunks;

  g_autoptr (GPtrArray) tables = store_list_names (store, "index/", &error);
  g_assert_cmpuint (tables->len, >, 0);
  for (guint i = 0; i < tables->len; i++)
    g_assert_true (store_remove (store, tables->pdata[i], &error));
  g_autoptr (GHashTable) objects = objects_of (store->backend);
  g_autoptr (Store) again = store_of (objects, NULL, 0);
  fixture_assert_map (again, &one, ram, PAGES);
  fixture_assert_map (again, &two, disk, PAGES);
  g_autoptr (StoreRepair) repair = store_repair (again, NULL, FALSE, NULL, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (GPtrArray) findings = NULL;
  g_assert_true (store_check (again, TRUE, &findings, NULL, NULL, &error));
  g_assert_cmpuint (findings->len, ==, 0);
  g_assert_true (store_stats (again, FALSE, &stats, NULL, NULL, &error));
  g_assert_cmpuint (stats.chunks, ==, chunks);
}

/* ---- 5 ---- */

/* Reads all checkpoints; FALSE with @error if something is damaged. Wrong content fails the test.
 */
static gboolean
read_all (Store *store, const guint64 *seeds, GError **error)
{
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, &damaged, error);

  if (manifests == NULL)
    return FALSE;
  if (damaged->len > 0) {
    g_autoptr (Manifest) none = store_manifest_load (store, damaged->pdata[0], error);
    g_assert_null (none);
    return FALSE;
  }
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    g_autoptr (PageMapReader) reader =
        page_map_reader_new (store, &manifest_find_part (manifest, "ram", NULL)->map, error);
    FixtureExpected expected = { seeds, 0 };
    if (reader == NULL ||
        !page_map_reader_foreach (reader, TRUE, fixture_compare_page, &expected, NULL, NULL, error))
      return FALSE;
    g_assert_cmpuint (expected.seen, ==, PAGES);
  }
  return TRUE;
}

/* A bit is flipped anywhere: what is read is right, or an error that names an object. */
static void
test_verified (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (GHashTable) objects = objects_of (store->backend);
  GHashTableIter iter;
  gpointer name, bytes;
  guint refused = 0, harmless = 0;

  g_hash_table_iter_init (&iter, objects);
  while (g_hash_table_iter_next (&iter, &name, &bytes)) {
    gsize size = g_bytes_get_size (bytes);
    if (g_str_equal (name, "format"))
      continue; /* refused when it is opened: test-store-damage */
    for (gsize at = 0; at < size; at += 1 + size / 40) {
      g_autoptr (GError) error = NULL;
      g_autoptr (Store) hurt = store_of (objects, name, at);
      if (read_all (hurt, seeds, &error)) {
        harmless++; /* a table that was rebuilt, a trailer that no reader needs */
        continue;
      }
      refused++;
      g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
      g_assert_true (strstr (error->message, "packs/") != NULL ||
                     strstr (error->message, "manifests/") != NULL ||
                     strstr (error->message, "chunk") != NULL);
    }
  }
  g_test_message ("%u refused, %u harmless", refused, harmless);
  g_assert_cmpuint (refused, >, 0);
}

/* ---- 6 ---- */

/* rm deletes no content. gc deletes none that a checkpoint needs, nor what a writer that is at work
 * may rely on; all else is gone afterwards. */
static void
test_deletion (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autofree guint64 *others = seeds_new (50000);
  g_autoptr (Manifest) first = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (Manifest) second = fixture_checkpoint (store, 2, others, PAGES, NULL, NULL);
  guint packs = fixture_count_objects (store->backend, "packs/");
  /* Relies on what only the first checkpoint has. */
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMap map = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);

  g_assert_true (store_manifest_remove (store, first->id, &error));
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), ==, packs);
  collect_garbage (store);
  collect_garbage (store);
  g_autoptr (Manifest) third = fixture_commit (writer, "g1", 3, &map);
  g_clear_pointer (&writer, store_writer_free);
  collect_garbage (store);
  fixture_assert_checkpoint (store, third->id, seeds, PAGES);
  fixture_assert_checkpoint (store, second->id, others, PAGES);
  g_assert_true (store_manifest_remove (store, third->id, &error));
  g_assert_true (store_manifest_remove (store, second->id, &error));
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), >=, packs);
  collect_garbage (store);
  g_assert_cmpuint (fixture_count_objects (store->backend, "packs/"), ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "condemned/"), ==, 0);
}

/* ---- 7 ---- */

static KeyMaterial *
key_of (char fill)
{
  char content[32];

  memset (content, fill, sizeof content);
  return key_material_new_file (content, sizeof content, NULL);
}

static gboolean
bytes_have (GBytes *bytes, const void *wanted, gsize len)
{
  return memmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), wanted, len) != NULL;
}

/* An encrypted store with one checkpoint, and copies of all its objects. */
static Store *
sealed_store (Recorder *recorder, const KeyMaterial *key, const guint64 *seeds,
              GHashTable **objects)
{
  g_autoptr (GError) error = NULL;

  store_init_encrypted (&recorder->backend, key, NULL, &error);
  g_assert_no_error (error);
  Store *store = store_open_with_key (&recorder->backend, key, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  g_assert_true (store_tag_add (store, manifest->id, "betraying-tag", &error));
  fixture_assert_checkpoint (store, manifest->id, seeds, PAGES);
  *objects = objects_of (recorder->inner);
  return store;
}

/* A key's hash of a page that somebody knows says nothing about a store: names are keyed. */
static void
assert_tells_nothing (GHashTable *objects, const guint64 *seeds)
{
  const HashKey no_key = { 0 };
  guint8 page[PAGE_SIZE_BYTES];
  ChunkName name;
  GHashTableIter iter;
  gpointer object, bytes;

  fixture_page (seeds[1], page);
  chunk_name_of (&no_key, page, sizeof page, &name);
  g_hash_table_iter_init (&iter, objects);
  while (g_hash_table_iter_next (&iter, &object, &bytes)) {
    if (g_str_equal (object, "format") || g_str_has_prefix (object, "keys/"))
      continue;
    g_assert_false (bytes_have (bytes, page, 64));
    g_assert_false (bytes_have (bytes, name.bytes, sizeof name.bytes));
    g_assert_false (bytes_have (bytes, "betraying-tag", 13));
    g_assert_false (bytes_have (bytes, "pc.ram", 6));
    g_assert_false (bytes_have (bytes, "vmckpack", 8));
  }
}

/* Nothing that is kept is readable, two stores of the same content have no name in common, and the
 * store opens to its key only. */
static void
test_keys (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) key = key_of ('k');
  g_autoptr (KeyMaterial) wrong = key_of ('w');
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autoptr (GHashTable) a_objects = NULL;
  g_autoptr (GHashTable) b_objects = NULL;
  g_autoptr (Store) a = sealed_store (recorder_new(), key, seeds, &a_objects);
  g_autoptr (Store) b = sealed_store (recorder_new(), key, seeds, &b_objects);
  GHashTableIter iter;
  gpointer name;

  assert_tells_nothing (a_objects, seeds);
  g_hash_table_iter_init (&iter, a_objects);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    g_assert_true (g_str_equal (name, "format") || !g_hash_table_contains (b_objects, name));
  const struct {
    const KeyMaterial *key;
    int code;
  } refused[] = { { NULL, STORE_ERROR_KEY_NEEDED }, { wrong, STORE_ERROR_KEY_WRONG } };
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++) {
    Backend *backend = backend_memory_new();
    gpointer bytes;
    g_hash_table_iter_init (&iter, a_objects);
    while (g_hash_table_iter_next (&iter, &name, &bytes)) {
      gboolean existed;
      g_assert_true (backend->ops->put_if_absent (backend, name, bytes, &existed, &error));
    }
    g_assert_null (refused[i].key == NULL
                       ? store_open (backend, &error)
                       : store_open_with_key (backend, refused[i].key, NULL, &error));
    g_assert_error (error, STORE_ERROR, refused[i].code);
    g_clear_error (&error);
  }
  /* The last key stays. */
  g_autofree char *id = store_key_find (a, key, &error);
  g_assert_no_error (error);
  g_assert_null (store_key_remove (a, id, &error));
  g_assert_nonnull (error);
}

/* ---- 8 ---- */

/* One checkpoint on a backend whose puts may fail; NULL if it fails. */
static Manifest *
try_checkpoint (Store *store, const guint64 *seeds, GError **error)
{
  g_autoptr (StoreWriter) writer = store_writer_begin (store, error);
  g_autoptr (PageMapWriter) pages = NULL;
  guint8 page[PAGE_SIZE_BYTES];
  PageMap map;

  if (writer != NULL)
    pages = page_map_writer_new (writer, PAGES * PAGE_SIZE_BYTES, NULL, error);
  for (guint i = 0; pages != NULL && i < PAGES; i++) {
    fixture_page (seeds[i], page);
    if (!page_map_writer_put (pages, i, page, error))
      return NULL;
  }
  if (pages == NULL || !page_map_writer_finish (pages, &map, NULL, error))
    return NULL;
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 2);
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  return store_writer_commit (writer, manifest, NULL, error) ? g_steal_pointer (&manifest) : NULL;
}

/* The store runs full at the first, second, … put: the checkpoint fails, the one before it is
 * whole, and gc leaves nothing of it; with room again the next one succeeds. */
static void
test_failure (void)
{
  g_autofree guint64 *seeds = seeds_new (1000);
  g_autofree guint64 *others = seeds_new (50000);
  gboolean succeeded = FALSE;
  int failures = 0;

  for (int puts = 0; !succeeded; puts++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GError) cause = NULL;
    Recorder *recorder = recorder_new();
    g_autoptr (Store) store = fixture_store_new (&recorder->backend);
    g_autoptr (Manifest) first = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
    g_autoptr (GHashTable) before = objects_of (recorder->inner);
    recorder->puts_left = puts;
    g_autoptr (Manifest) second = try_checkpoint (store, others, &cause);
    recorder->puts_left = -1;
    succeeded = second != NULL;
    g_assert_cmpuint (count_checkpoints (store), ==, succeeded ? 2 : 1);
    fixture_assert_checkpoint (store, first->id, seeds, PAGES);
    if (succeeded)
      continue;
    failures++;
    g_assert_error (cause, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    collect_garbage (store);
    g_autoptr (GHashTable) after = objects_of (recorder->inner);
    g_assert_cmpuint (g_hash_table_size (after), ==, g_hash_table_size (before));
    assert_unchanged (before, after);
    g_autoptr (Manifest) next = try_checkpoint (store, others, &error);
    g_assert_no_error (error);
    fixture_assert_checkpoint (store, next->id, others, PAGES);
  }
  /* Announcement, packs of pages and of nodes, table, manifest. */
  g_assert_cmpint (failures, >=, 5);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/invariant/1/a-checkpoint-exists-iff-its-manifest-does", test_exists_iff);
  g_test_add_func ("/invariant/2/objects-are-immutable-and-content-has-its-hash-for-a-name",
                   test_immutable);
  g_test_add_func ("/invariant/3/every-checkpoint-is-a-full-one", test_full);
  g_test_add_func ("/invariant/4/identity-per-page-and-the-index-is-only-a-help", test_identity);
  g_test_add_func ("/invariant/5/every-byte-read-back-is-verified", test_verified);
  g_test_add_func ("/invariant/6/deletion-only-by-gc-only-of-what-nothing-needs", test_deletion);
  g_test_add_func ("/invariant/7/keys", test_keys);
  g_test_add_func ("/invariant/8/a-failure-fails-the-checkpoint-and-nothing-else", test_failure);
  return g_test_run();
}

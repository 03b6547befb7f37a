/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Damage of every kind to every kind of object: check names the object, reading refuses what it
 * hurts and never yields wrong data.
 */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/copy.h>
#include <vmckpt/store/repair.h>

#include <glib/gstdio.h>
#include <unistd.h>

#define PAGES 2000

typedef struct {
  char *path;
  guint64 *first, *second;
  char *one, *two; /* ids */
} Damaged;

/* Two checkpoints, the second on top of the first; a tag; a claim is not needed. */
static void
damaged_init (Damaged *self)
{
  g_autoptr (GError) error = NULL;

  self->path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (self->path));
  self->first = g_new (guint64, PAGES);
  for (guint i = 0; i < PAGES; i++)
    self->first[i] = 1 + i;
  self->second = g_memdup2 (self->first, PAGES * sizeof (guint64));
  for (guint i = 0; i < 40; i++)
    self->second[i * 37] = 90000 + i;
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, self->first, PAGES, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, self->second, PAGES, one, self->first);
  self->one = g_strdup (one->id);
  self->two = g_strdup (two->id);
  g_assert_true (store_tag_add (store, one->id, "kept", &error));
}

static void
damaged_clear (Damaged *self)
{
  fixture_directory_remove (self->path);
  g_free (self->first);
  g_free (self->second);
  g_free (self->one);
  g_free (self->two);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Damaged, damaged_clear)

static GPtrArray *
list_names (const char *path, const char *prefix)
{
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), NULL);
  g_autoptr (GError) error = NULL;
  GPtrArray *names = store_list_names (store, prefix, &error);

  g_assert_no_error (error);
  return names;
}

typedef enum { FLIP, CUT, REMOVE } Damage;

/* Damages a file; @at: which byte, from 0 (first) to 1 (last). */
static void
damage (const char *path, const char *object, Damage kind, double at)
{
  g_autofree char *file = g_build_filename (path, object, NULL);
  g_autofree char *contents = NULL;
  gsize len;

  g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
  if (kind == REMOVE) {
    g_assert_cmpint (g_unlink (file), ==, 0);
    return;
  }
  gsize byte = (len - 1) * at;
  contents[byte] ^= 0x10;
  g_assert_true (g_file_set_contents (file, contents, kind == CUT ? byte : len, NULL));
}

/* All findings, as objects; checks that none is about @innocent. */
static GPtrArray *
check (const char *path, gboolean read_data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  GPtrArray *findings = NULL;

  g_assert_no_error (error);
  store_check (store, read_data, &findings, NULL, NULL, &error);
  g_assert_no_error (error);
  return findings;
}

static const StoreFinding *
find (GPtrArray *findings, const char *object)
{
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    if (g_str_equal (finding->object, object))
      return finding;
  }
  return NULL;
}

typedef struct {
  const guint64 *seeds;
} Seeds;

static gboolean
compare_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  const guint64 *seeds = user_data;
  guint8 wanted[PAGE_SIZE_BYTES];

  fixture_page (seeds[page], wanted);
  g_assert_nonnull (data);
  g_assert_cmpmem (data, PAGE_SIZE_BYTES, wanted, PAGE_SIZE_BYTES);
  return TRUE;
}

/* Reads a checkpoint: it is right (TRUE), or refused as damaged or not there. */
static gboolean
readable (const char *path, const char *id, const guint64 *seeds)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autoptr (Manifest) manifest = store_manifest_load (store, id, &error);
  g_autoptr (PageMapReader) reader =
      manifest != NULL
          ? page_map_reader_new (store, &manifest_find_part (manifest, "ram", NULL)->map, &error)
          : NULL;
  gboolean good = reader != NULL && page_map_reader_foreach (reader, TRUE, compare_page,
                                                             (gpointer)seeds, NULL, NULL, &error);
  if (!good)
    g_assert_true (g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED) ||
                   g_error_matches (error, STORE_ERROR, STORE_ERROR_NOT_FOUND));
  return good;
}

/* One object damaged in one way. */
static void
try_object (const char *prefix, guint which, Damage kind, double at, gboolean read_data)
{
  g_auto (Damaged) self = { 0 };

  damaged_init (&self);
  g_autoptr (GPtrArray) names = list_names (self.path, prefix);
  const char *object = names->pdata[which % names->len];
  gboolean manifest = g_str_has_prefix (object, "manifests/");
  damage (self.path, object, kind, at);

  g_autoptr (GPtrArray) findings = check (self.path, read_data);
  const StoreFinding *finding = find (findings, object);
  gboolean one = readable (self.path, self.one, self.first);
  gboolean two = readable (self.path, self.two, self.second);
  gboolean invisible = kind == REMOVE && (manifest || g_str_has_prefix (object, "tags/"));
  /* A manifest or tag that was removed is a checkpoint or tag that does not exist. */
  if (!invisible && !g_str_has_prefix (object, "index/"))
    g_assert_nonnull (finding);
  /* A lost index table shows in the packs that it named. */
  if (g_str_has_prefix (object, "index/")) {
    g_assert_cmpuint (findings->len, >, 0);
    g_assert_true (one && two);
  }
  for (int i = 0; i < 2 && finding != NULL; i++) {
    gboolean good = i == 0 ? one : two;
    const char *id = i == 0 ? self.one : self.two;
    if (!good)
      g_assert_true (g_strv_contains ((const char *const *)finding->checkpoints, id));
  }
  /* Reading needs the frames, not the footer that follows them. */
  if (g_str_has_prefix (object, "packs/") && (kind == REMOVE || (kind == CUT && at < 0.5)))
    g_assert_false (one && two);
}

static void
test_prefix (const char *prefix, guint objects)
{
  static const double places[] = { 0, 0.3, 0.62, 0.97, 1 };

  for (guint which = 0; which < objects; which++) {
    for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
      try_object (prefix, which, FLIP, places[i], TRUE);
      try_object (prefix, which, CUT, places[i], FALSE);
    }
    try_object (prefix, which, REMOVE, 0, FALSE);
  }
}

static void
test_packs (void)
{
  test_prefix ("packs/", 4);
}

static void
test_index (void)
{
  test_prefix ("index/", 2);
}

static void
test_manifests (void)
{
  test_prefix ("manifests/", 2);
}

static void
test_tags (void)
{
  test_prefix ("tags/", 1);
}

/* The format object: nothing of the store can be used without it. */
static void
test_format (void)
{
  for (double at = 0; at <= 1; at += 0.05) {
    g_auto (Damaged) self = { 0 };
    g_autoptr (GError) error = NULL;
    damaged_init (&self);
    damage (self.path, "format", at < 0.5 ? FLIP : CUT, at);
    g_assert_null (store_open (fixture_directory_backend (self.path), &error));
    g_assert_true (error->domain == STORE_ERROR);
    g_assert_nonnull (strstr (error->message, "format"));
  }
}

/* A format of a tebibyte is not taken into memory. */
static void
test_format_huge (void)
{
  g_auto (Damaged) self = { 0 };
  g_autoptr (GError) error = NULL;

  damaged_init (&self);
  g_autofree char *format = g_build_filename (self.path, "format", NULL);
  g_assert_cmpint (truncate (format, (off_t)1 << 40), ==, 0);
  g_assert_null (store_open (fixture_directory_backend (self.path), &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, "too many"));
}

/* The format object changed under an open store. */
static void
test_format_later (void)
{
  g_auto (Damaged) self = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  damaged_init (&self);
  g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), &error);
  damage (self.path, "format", FLIP, 0.7);
  g_assert_true (store_check (store, FALSE, &findings, NULL, NULL, &error));
  g_assert_nonnull (find (findings, "format"));
}

typedef struct {
  guint64 done, total;
  guint stretches;
} Seen;

static void
see_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Seen *seen = user_data;

  g_assert_cmpint (phase, ==, PHASE_READ);
  g_assert_cmpuint (done, <=, total);
  g_assert_true (done == 0 || done >= seen->done);
  seen->stretches += done == 0;
  seen->done = done;
  seen->total = total;
}

/* The walk of the checkpoints is told of too, also by a repair, which walks the hurt ones again. */
static void
test_progress (void)
{
  g_auto (Damaged) self = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;
  Seen seen = { 0 }, repair = { 0 };
  const Progress progress = { see_progress, &seen }, of_repair = { see_progress, &repair };

  damaged_init (&self);
  g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), &error);
  g_autoptr (Manifest) one = store_manifest_load (store, self.one, NULL);
  g_autoptr (Manifest) two = store_manifest_load (store, self.two, NULL);
  guint64 described = manifest_described_bytes (one) + manifest_described_bytes (two);
  g_assert_true (store_check (store, FALSE, &findings, &progress, NULL, &error));
  g_assert_cmpuint (seen.stretches, ==, 1);
  g_assert_cmpuint (seen.done, ==, described);
  g_assert_cmpuint (seen.total, ==, described);
  g_autoptr (StoreRepair) report = store_repair (store, NULL, TRUE, &of_repair, NULL, &error);
  g_assert_nonnull (report);
  g_assert_cmpuint (repair.stretches, ==, 3);
  g_assert_cmpuint (repair.done, ==, described);
}

/* A store that is open all the time sees the damage, and sees it mended. (The nodes of page maps,
 * which are kept in memory, are near the end of a pack.) */
static void
test_mended (void)
{
  g_auto (Damaged) self = { 0 };

  damaged_init (&self);
  g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), NULL);
  g_autoptr (Manifest) manifest = store_manifest_load (store, self.two, NULL);
  g_autoptr (GPtrArray) packs = list_names (self.path, "packs/");
  for (guint i = 0; i < packs->len; i++) {
    for (int part = 0; part <= 100; part++) {
      g_autoptr (GError) error = NULL;
      damage (self.path, packs->pdata[i], FLIP, 0.8 + part / 500.0);
      store_verify (store, manifest, NULL, NULL, NULL);
      damage (self.path, packs->pdata[i], FLIP, 0.8 + part / 500.0);
      g_assert_true (store_verify (store, manifest, NULL, NULL, &error));
      g_assert_no_error (error);
    }
  }
}

/* A sound store has no findings, and gc mends a damaged or lost index. */
static void
test_gc_mends_index (void)
{
  static const Damage kinds[] = { FLIP, CUT, REMOVE };

  /* Several times: the rebuilt table has the name of the damaged one, or not, by chance. */
  for (guint i = 0; i < 5 * G_N_ELEMENTS (kinds); i++) {
    g_auto (Damaged) self = { 0 };
    g_autoptr (GError) error = NULL;
    damaged_init (&self);
    g_autoptr (GPtrArray) before = check (self.path, TRUE);
    g_assert_cmpuint (before->len, ==, 0);
    g_autoptr (GPtrArray) names = list_names (self.path, "index/");
    damage (self.path, names->pdata[0], kinds[i % G_N_ELEMENTS (kinds)], 0.8);
    g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), &error);
    g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
    g_assert_no_error (error);
    g_autoptr (GPtrArray) after = check (self.path, TRUE);
    g_assert_cmpuint (after->len, ==, 0);
    g_assert_true (readable (self.path, self.two, self.second));
  }
}

/* gc deletes nothing when it cannot know what a checkpoint needs. */
static void
test_gc_refuses (void)
{
  g_auto (Damaged) self = { 0 };
  g_autoptr (GError) error = NULL;

  damaged_init (&self);
  g_autofree char *object = g_strconcat ("manifests/", self.one, NULL);
  damage (self.path, object, FLIP, 0.5);
  g_autoptr (GPtrArray) before = list_names (self.path, "packs/");
  g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), &error);
  g_assert_false (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_autoptr (GPtrArray) after = list_names (self.path, "packs/");
  g_assert_cmpuint (before->len, ==, after->len);
}

/* verify says what check says, for one checkpoint. */
static void
test_verify (void)
{
  g_auto (Damaged) self = { 0 };
  g_autoptr (GError) error = NULL;

  damaged_init (&self);
  g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), &error);
  g_autoptr (Manifest) one = store_manifest_load (store, self.one, &error);
  g_assert_true (store_verify (store, one, NULL, NULL, &error));
  g_autoptr (GPtrArray) names = list_names (self.path, "packs/");
  for (guint i = 0; i < names->len; i++)
    damage (self.path, names->pdata[i], FLIP, 0.4);
  g_autoptr (Store) again = store_open (fixture_directory_backend (self.path), &error);
  g_assert_false (store_verify (again, one, NULL, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, "packs/"));
}

/* ---- What is said of each kind of damage, word for word ---- */

typedef enum { WITH_TEXT, AT_BYTE, AT_END, SHORTER, EMPTY } Manner;

typedef struct {
  const char *kind;
  const char *prefix; /* of the object: the first one there is */
  Manner manner;
  int at;              /* byte, from the end for AT_END; length for SHORTER */
  const char *text;    /* WITH_TEXT: all of it, or of a new object */
  const char *problem; /* what check says of it; * stands for anything */
  gboolean stays; /* check says it even after a repair and a gc: that is a person's to remove */
} Case;

static const Case cases[] = {
  { "pack: header", "packs/", AT_BYTE, 3, NULL, "*: is not a pack: its first bytes are wrong" },
  { "pack: version", "packs/", AT_BYTE, 11, NULL,
    "*: has version 1, which needs a program that knows version 257" },
  { "pack: frame", "packs/", AT_BYTE, 40, NULL, "holds data that is not what its footer says" },
  { "pack: footer", "packs/", AT_END, 100, NULL,
    "*: is damaged: its footer does not match its name" },
  { "pack: trailer", "packs/", AT_END, 3, NULL, "*: is cut short: its trailer is not there" },
  { "pack: cut", "packs/", SHORTER, 100, NULL, "has 100 bytes instead of *" },
  { "pack: empty", "packs/", EMPTY, 0, NULL, "has 0 bytes instead of *" },
  { "index: magic", "index/", AT_BYTE, 2, NULL,
    "is damaged (reading goes by way of the packs; gc replaces it)" },
  { "index: head", "index/", AT_BYTE, 40, NULL,
    "is damaged (reading goes by way of the packs; gc replaces it)" },
  { "index: entry", "index/", AT_END, 30, NULL,
    "is damaged (reading goes by way of the packs; gc replaces it)" },
  { "index: cut", "index/", SHORTER, 1000, NULL,
    "is damaged (reading goes by way of the packs; gc replaces it)" },
  { "index: empty", "index/", EMPTY, 0, NULL,
    "is damaged (reading goes by way of the packs; gc replaces it)" },
  { "manifest: text", "manifests/", AT_BYTE, 60, NULL,
    "does not hold what its name says, or cannot be understood" },
  { "manifest: cut", "manifests/", SHORTER, 100, NULL,
    "does not hold what its name says, or cannot be understood" },
  { "manifest: empty", "manifests/", EMPTY, 0, NULL,
    "does not hold what its name says, or cannot be understood" },
  { "tag: text", "tags/", AT_BYTE, 40, NULL, "does not hold what it should" },
  { "writer: no text", "writers/new", WITH_TEXT, 0, "nonsense", "does not hold what it should",
    TRUE },
  { "condemned: no text", "condemned/new", WITH_TEXT, 0, "nonsense",
    "does not hold what it should (gc repairs that)" },
  { "claim: no text", "claims/" FIXTURE_UUID "/1", WITH_TEXT, 0, "nonsense",
    "does not hold what it should", TRUE },
};

/* Damages the object as the case says; its name. */
static char *
apply_case (const char *path, const Case *one)
{
  g_autoptr (GPtrArray) names = one->manner != WITH_TEXT ? list_names (path, one->prefix) : NULL;
  char *object = g_strdup (names != NULL ? names->pdata[0] : one->prefix);
  g_autofree char *file = g_build_filename (path, object, NULL);
  g_autofree char *directory = g_path_get_dirname (file);
  g_autofree char *contents = NULL;
  gsize len = 0;

  if (one->manner == WITH_TEXT) {
    g_assert_cmpint (g_mkdir_with_parents (directory, 0777), ==, 0);
    g_assert_true (g_file_set_contents (file, one->text, -1, NULL));
    return object;
  }
  g_assert_true (g_file_get_contents (file, &contents, &len, NULL));
  if (one->manner == AT_BYTE)
    contents[one->at] ^= 1;
  else if (one->manner == AT_END)
    contents[len - one->at] ^= 1;
  else
    len = one->at;
  g_assert_true (g_file_set_contents (file, contents, len, NULL));
  return object;
}

/* Copies all into another store. */
static Store *
copy_store (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (path), &error);
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, &error);
  g_autoptr (GPtrArray) copied = NULL;
  Store *copy = fixture_store_new (backend_memory_new());

  store_copy (store, copy, all, &copied, NULL, NULL, &error);
  g_assert_no_error (error);
  return copy;
}

/* Both checkpoints are there and right, whatever their ids are now. */
static void
assert_whole (Store *store, const Damaged *self)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (all->len, ==, 2);
  for (guint i = 0; i < all->len; i++) {
    const Manifest *manifest = all->pdata[i];
    fixture_assert_map (store, &manifest_find_part (manifest, "ram", NULL)->map,
                        manifest->created_us == 1 ? self->first : self->second, PAGES);
  }
}

static void
test_case (gconstpointer data)
{
  const Case *one = data;
  g_auto (Damaged) self = { 0 };

  damaged_init (&self);
  g_autoptr (Store) copy = copy_store (self.path);
  g_autofree char *object = apply_case (self.path, one);
  g_autoptr (GPtrArray) findings = check (self.path, TRUE);
  const StoreFinding *finding = find (findings, object);
  g_assert_nonnull (finding);
  if (!g_pattern_match_simple (one->problem, finding->problem))
    g_error ("%s: check says '%s'", one->kind, finding->problem);
  /* No wrong word is read, whatever is wrong. */
  readable (self.path, self.one, self.first);
  readable (self.path, self.two, self.second);
  /* And with a copy nothing is lost. */
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (fixture_directory_backend (self.path), &error);
  /* Who writes must know what is condemned: gc first. */
  if (g_str_has_prefix (object, "condemned/"))
    store_gc (store, FALSE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (StoreRepair) repair = store_repair (store, copy, FALSE, NULL, NULL, &error);
  g_assert_no_error (error);
  assert_whole (store, &self);
  if (!one->stays) {
    store_gc (store, FALSE, NULL, NULL, NULL, &error);
    g_assert_no_error (error);
    g_autoptr (GPtrArray) left = check (self.path, TRUE);
    for (guint i = 0; i < left->len; i++)
      g_test_message ("%s %s", ((StoreFinding *)left->pdata[i])->object,
                      ((StoreFinding *)left->pdata[i])->problem);
    g_assert_cmpuint (left->len, ==, 0);
  }
}

/* What a program has read before the damage is no proof that it can still be read: the nodes of the
 * maps are damaged behind the back of one that has them in its cache. */
static void
test_read_before (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree guint64 *seeds = g_new (guint64, PAGES);
  g_autoptr (GPtrArray) findings = NULL;
  g_autoptr (GError) error = NULL;
  ChunkLocation location;
  guint64 size = 0;

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = 1 + i;
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, PAGES, NULL, NULL);
  fixture_assert_checkpoint (store, one->id, seeds, PAGES);
  const PageMap *map = &manifest_find_part (one, "ram", NULL)->map;
  g_assert_true (store_chunk_locate (store, &map->root, &location, &error));
  g_autofree char *pack = object_name ("packs", &location.pack);
  g_assert_true (store->backend->ops->stat (store->backend, pack, &size, &error));
  fixture_spoil (store->backend, pack, size, location.frame.offset + 20);
  g_assert_true (store_check (store, FALSE, &findings, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_nonnull (find (findings, pack));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/damage/packs", test_packs);
  g_test_add_func ("/store/damage/index", test_index);
  g_test_add_func ("/store/damage/manifests", test_manifests);
  g_test_add_func ("/store/damage/tags", test_tags);
  g_test_add_func ("/store/damage/format", test_format);
  g_test_add_func ("/store/damage/format-huge", test_format_huge);
  g_test_add_func ("/store/damage/format-later", test_format_later);
  g_test_add_func ("/store/damage/progress", test_progress);
  g_test_add_func ("/store/damage/mended", test_mended);
  g_test_add_func ("/store/damage/gc-mends-index", test_gc_mends_index);
  g_test_add_func ("/store/damage/gc-refuses", test_gc_refuses);
  g_test_add_func ("/store/damage/verify", test_verify);
  g_test_add_func ("/store/damage/read-before", test_read_before);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *name = g_strconcat ("/store/damage/kinds/", cases[i].kind, NULL);
    g_test_add_data_func (name, &cases[i], test_case);
  }
  return g_test_run();
}
